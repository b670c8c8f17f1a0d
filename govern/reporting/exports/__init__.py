"""A run for machines: pure functions from its records to the bytes of other people's formats, always the same bytes.

An export is one module here with an `EXPORT`, and one line below.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from govern.reporting.exports.protocol import Export

EXPORTS: Final = {
    "cyclonedx": "govern.reporting.exports.cyclonedx",
    "model-card": "govern.reporting.exports.model_card",
    "junit": "govern.reporting.exports.junit",
    "sarif": "govern.reporting.exports.sarif",
    "json": "govern.reporting.exports.run_json",
    "pdf": "govern.reporting.exports.pdf",
}


def load_export(name: str) -> Export:
    """An export by its name in `--format`."""
    export: Export = import_module(EXPORTS[name]).EXPORT
    return export
