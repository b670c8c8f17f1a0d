"""Attacks on a removal, with the base model as control. Importing this loads no torch."""
