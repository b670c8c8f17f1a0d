"""This moment, in the one form that people's signatures and documents use."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This moment in UTC, RFC 3339, seconds, `Z`: as text, these are in the order of time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
