"""Our own JSON: the run's document itself, in RFC 8785 form."""

from __future__ import annotations

from govern.reporting.document import RunDocument
from govern.reporting.exports.protocol import Export


def run_json(document: RunDocument) -> bytes:
    """What the pointers on the report's page point into."""
    return document.canonical()


EXPORT = Export(("document",), run_json)
