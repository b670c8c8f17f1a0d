"""The append-only audit log, and what shows it to outsiders. No torch, no network."""

from govern.audit.body import Stored, parse_event
from govern.audit.inspection import Finding, Head
from govern.audit.log import Log, TreeHead

__all__ = ["Finding", "Head", "Log", "Stored", "TreeHead", "parse_event"]
