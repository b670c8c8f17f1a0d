"""A benchmark's files, as their authors publish them, JSON lines or one JSON list, checked and counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from govern.digests import canonical_digest
from govern.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One row of a file. `where` is its file:line, or the file and the number of the entry in a JSON list."""

    where: str
    values: Mapping[str, Any]

    def text(self, column: str) -> str:
        """A column's text. Raises UsageError where it is missing, empty or something else."""
        value = self.values.get(column)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"column {column!r} holds no text", where=self.where, hint=self._columns())
        return value

    def texts(self, column: str) -> tuple[str, ...]:
        """A column's list of texts, at least one. Raises UsageError where it is anything else."""
        value = self.values.get(column)
        good = isinstance(value, list) and value and all(isinstance(each, str) and each.strip() for each in value)
        if not good:
            raise UsageError(f"column {column!r} holds no list of texts", where=self.where, hint=self._columns())
        return tuple(value or ())

    def _columns(self) -> str:
        return f"Its columns are: {', '.join(map(repr, self.values))}."


def read_rows(path: Path, *, published: int | None) -> tuple[Row, ...]:
    """The rows of a `.jsonl` or a `.json` file, `published` many where that is known.

    Raises UsageError naming file:line, never a text, for a row that is no JSON object, and for another number of rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError("the benchmark's file is missing", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the benchmark's file cannot be read: {type(error).__name__}", where=str(path), hint="It is UTF-8 text."
        ) from None
    if path.suffix == ".json":
        values = _json(text, str(path))
        if not isinstance(values, list):
            raise UsageError("the file is not a JSON list", where=str(path))
        rows = tuple(_row(value, f"{path}, entry {number}") for number, value in enumerate(values, start=1))
    else:
        lines = enumerate(text.split("\n"), start=1)
        rows = tuple(
            _row(_json(line, f"{path}:{number}"), f"{path}:{number}") for number, line in lines if line.strip()
        )
    if not rows:
        raise UsageError("the benchmark's file holds no rows", where=str(path))
    if published is not None and len(rows) != published:
        raise UsageError(
            f"the file holds {len(rows)} rows, the published one {published}",
            where=str(path),
            hint="Fetch it again. For a part or a variant of the benchmark say --part.",
        )
    return rows


def limited(rows: Iterable[Row], limit: int | None) -> tuple[Row, ...]:
    """All rows, or `limit` of them in the order of their hashes: a random subset, always the same one."""
    kept = tuple(rows)
    if limit is None or limit >= len(kept):
        return kept
    return tuple(sorted(kept, key=lambda row: canonical_digest(row.values))[:limit])


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if error.lineno > 1 else ""
        raise UsageError(f"not JSON: {error.msg}", where=f"{where}{line}:{error.colno}") from None
    except RecursionError:
        raise UsageError("JSON nested too deeply", where=where) from None


def _row(value: Any, where: str) -> Row:
    # MUSE publishes plain texts as a list of them.
    values = {"text": value} if isinstance(value, str) else value
    if not isinstance(values, dict):
        raise UsageError("the row is not a JSON object", where=where)
    return Row(where, values)
