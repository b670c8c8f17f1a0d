"""The story of each command, top to bottom. Only this floor appends events."""
