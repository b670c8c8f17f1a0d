"""The `govern` command: parse, call the workflow, print. Heavy imports stay inside commands."""
