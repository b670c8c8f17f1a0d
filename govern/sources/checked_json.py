"""JSON out of a model folder that a stranger may have written: bounded before anything else reads it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from govern.errors import SourceError

_LARGEST = 512 << 20  # bytes; the largest tokenizers take 35 MB
_DEEPEST = 64
_LONGEST_NUMBER = 100  # characters; tokenizers write a length without limit in 31


def require_file(path: Path, *, largest: int | None = None) -> None:
    """Raise SourceError where `path` is no regular file, or holds more than `largest` bytes."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else str(error)
        raise SourceError(f"the file cannot be read: {reason}", where=str(path)) from None
    if not stat.S_ISREG(found.st_mode):
        raise SourceError("this is no regular file", where=str(path), hint="Only regular files make a model.")
    if largest is not None and found.st_size > largest:
        raise SourceError(f"the file holds {found.st_size:,} bytes, more than {largest:,}", where=str(path))


def read_object(path: Path, *, largest: int = _LARGEST) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises SourceError, naming the file and the place, for what is no JSON object in UTF-8, is larger than `largest`
    bytes or nested more than 64 deep, or holds a lone surrogate, NaN or a number of more than 100 characters.
    """
    require_file(path, largest=largest)
    try:
        found = json.loads(path.read_bytes().decode(), parse_int=_integer, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise SourceError(f"not JSON: {error.msg}", where=f"{path}:{error.lineno}:{error.colno}") from None
    except UnicodeDecodeError:
        raise SourceError("the file is not UTF-8", where=str(path)) from None
    except RecursionError:
        raise SourceError("JSON nested too deeply", where=str(path)) from None
    except ValueError as error:
        raise SourceError(str(error), where=str(path)) from None
    if not isinstance(found, dict):
        raise SourceError("the file holds no JSON object", where=str(path))
    for pointer, value in walk(found):
        if pointer.count("/") > _DEEPEST:
            raise SourceError("JSON nested too deeply", where=str(path))
        for text in (pointer, value if isinstance(value, str) else ""):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise SourceError("a lone surrogate, which is no text", where=str(path)) from None
    return found


def walk(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Every value within JSON, with its JSON pointer (unescaped); not recursive, so that depth cannot hurt."""
    waiting = [(pointer, value)]
    while waiting:
        pointer, value = waiting.pop()
        yield pointer, value
        if isinstance(value, dict):
            waiting += [(f"{pointer}/{key}", inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{place}", inner) for place, inner in enumerate(value)]


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _constant(text: str) -> float:
    if text == "NaN":
        raise ValueError("NaN is no number")
    return float(text)
