"""The audit log: append-only, exact bytes, hash-linked."""
