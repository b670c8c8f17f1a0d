"""Choosing settings, and comparing runs and methods."""
