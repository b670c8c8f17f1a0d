"""Where texts and models come from: `builtin:`, `file:`, `hf:`, `self:`."""
