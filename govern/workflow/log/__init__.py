"""The audit log from outside: checkpoints, proofs, witnesses, timestamps."""
