"""The version of govern, which reports, statements and events name."""

__version__ = "0.1.0"
