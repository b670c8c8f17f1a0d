"""The published schemas of our own JSON (JSON Schema, draft 2020-12)."""

from __future__ import annotations

from typing import Any, Final

from govern.records import Verdict
from govern.records.base import Record
from govern.reporting.document import RunDocument


class VerifyOutput(Verdict):
    """What `govern verify --json` prints: the verdict, and the path of the report that it issued."""

    report: str


SCHEMAS: Final[dict[str, type[Record]]] = {"report": RunDocument, "verdict": VerifyOutput}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of `govern report export --format json` ("report") or of `govern verify --json` ("verdict")."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:govern:schema:{name}:v1",
        **_ecma(SCHEMAS[name].model_json_schema(mode="serialization")),
    }


def _ecma(value: Any) -> Any:
    """Patterns as JSON Schema reads them (ECMA-262), where `$` is the end of the text and there is no `\\z`."""
    if isinstance(value, dict):
        return {
            name: inner.replace(r"\z", "$") if name == "pattern" and isinstance(inner, str) else _ecma(inner)
            for name, inner in value.items()
        }
    return [_ecma(inner) for inner in value] if isinstance(value, list) else value
