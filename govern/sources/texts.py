"""From a source to texts.

A `.jsonl` file holds one JSON object a line, its text in `column`; a `.txt` file one document a line, as the
`datasets` library reads it; a `.parquet` file its text in `column`. Blank documents are left out, and so is a byte
order mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path

from govern.errors import SourceError, UsageError
from govern.sources.source import parse_source

# Loaded by name where it is needed: it imports `datasets`, and rooms that only name sources must not depend on that.
_TABLES = "govern.sources.tables"


@dataclass(frozen=True)
class ResolvedTexts:
    """Documents in the source's order. `revision` is the hub's commit, `licence` None where unknown."""

    texts: tuple[str, ...]
    revision: str | None
    licence: str | None


def resolve_texts(
    source: str,
    *,
    subset: str | None,
    split: str | None,
    column: str | None,
    revision: str | None,
    base: Path,
    documents: int | None = None,
) -> ResolvedTexts:
    """Read the texts of a `file:` or `hf:` source, only the first `documents` where that is given.

    `column` is "text" where it is None. Of a file, no more is read than is asked for.

    Raises UsageError for a source or a setting that means nothing here, SourceError (with file:line:column where it
    has one) for text that is missing or malformed.
    """
    parsed = parse_source(source)
    column = column or "text"
    if parsed.scheme == "hf":
        every, revision, licence = import_module(_TABLES).hub_texts(
            parsed.name, subset=subset, split=split, column=column, revision=revision
        )
    elif parsed.scheme == "file":
        given = [name for name, value in (("subset", subset), ("split", split), ("revision", revision)) if value]
        if given:
            raise UsageError(f"{source} has no {' or '.join(given)}", hint="Only hf: data sets have them.")
        every, revision, licence = _file_texts(base / Path(parsed.name).expanduser(), column), None, None
    else:
        raise UsageError(f"{source} holds no texts to read", hint="Name a file: or hf: source.")
    texts = tuple(islice((text for text in every if text.strip()), documents))
    if not texts:
        raise SourceError("the source holds no text", where=source)
    return ResolvedTexts(texts, revision, licence)


def _file_texts(path: Path, column: str) -> Iterator[str]:
    if not path.is_file():
        raise SourceError("there is no such file", where=str(path))
    if path.suffix == ".jsonl":
        return _jsonl(path, column)
    if path.suffix == ".txt":
        return (line for _, line in _lines(path))
    if path.suffix == ".parquet":
        texts: Iterator[str] = import_module(_TABLES).parquet_texts(path, column)
        return texts
    raise SourceError(
        f"{path.suffix or 'a file without a suffix'} is no known form of text", where=str(path),
        hint="Expected a .jsonl, .txt or .parquet file.",
    )  # fmt: skip


def _jsonl(path: Path, column: str) -> Iterator[str]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SourceError(f"not JSON: {error.msg}", where=f"{path}:{number}:{error.colno}") from None
        except RecursionError:
            raise SourceError("JSON nested too deeply", where=f"{path}:{number}:1") from None
        except ValueError:
            raise SourceError("not JSON: a number of too many digits", where=f"{path}:{number}:1") from None
        if not isinstance(row, dict):
            raise SourceError("the line is not a JSON object", where=f"{path}:{number}:1")
        if column not in row:
            raise missing_column(column, list(row), f"{path}:{number}:1")
        if not isinstance(row[column], str):
            raise SourceError(f"column {column!r} does not hold text", where=f"{path}:{number}:1")
        try:
            row[column].encode()
        except UnicodeEncodeError:
            raise SourceError(
                f"column {column!r} holds a lone surrogate, which is no text", where=f"{path}:{number}:1"
            ) from None
        yield row[column]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1. Only newlines end one: a text may hold other separators that Unicode knows.

    A byte order mark at the beginning is dropped.
    """
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        try:
            for number, line in enumerate(stream, start=1):
                yield number, line.rstrip("\r\n")
        except UnicodeDecodeError:
            raise SourceError("the file is not UTF-8", where=str(path)) from None


def missing_column(column: str, available: list[str], where: str) -> SourceError:
    """The error for a column that is not there."""
    return SourceError(
        f"there is no column {column!r}", where=where, hint=f"Its columns are: {', '.join(map(repr, available))}."
    )
