"""Attacks on a removal, with the untouched model as control. Importing this loads no torch."""
