"""Remove hazardous knowledge from a language model, prove that it is gone, and answer for it years later."""

__version__ = "0.1.0"
