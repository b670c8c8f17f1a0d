"""Where a method or an attack comes from that is not govern's own."""

from __future__ import annotations

from govern.records.base import Record, Sha256


class Origin(Record):
    """Another distribution: its name, its version, and the digest over its files (see `govern.plugins`)."""

    distribution: str
    version: str
    digest: Sha256
