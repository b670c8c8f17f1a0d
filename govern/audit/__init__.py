"""The append-only audit log. No torch, no network."""

from govern.audit.body import Stored, parse_event
from govern.audit.log import Head, Log

__all__ = ["Head", "Log", "Stored", "parse_event"]
