"""The audit log: reading, checking, checkpoints, witnesses, timestamps, proofs."""
