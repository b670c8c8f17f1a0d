"""Verification: question sets, the lm-eval bridge, decisions."""
