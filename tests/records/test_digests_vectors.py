"""RFC 8785 as its authors test it."""

import json
from pathlib import Path

import pytest

from govern.digests import canonical_json

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "jcs" / "testdata"


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the published vectors in ../shared are absent")
@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_published_vectors(name):
    value = json.loads((VECTORS / "input" / f"{name}.json").read_text(encoding="utf-8"))
    expected = bytes.fromhex((VECTORS / "outhex" / f"{name}.txt").read_text())
    assert canonical_json(value) == expected


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e21, b"1e+21"),
        (1e20, b"100000000000000000000"),
        (1e-7, b"1e-7"),
        (9.999999999999997e-7, b"9.999999999999997e-7"),
        (-0.0, b"0"),
        (333333333.33333329, b"333333333.3333333"),
        ({"\U0001f600": 1, "\ufb33": 2}, '{"\U0001f600":1,"\ufb33":2}'.encode()),
    ],
)
def test_where_sorted_json_dumps_is_wrong(value, written):
    assert canonical_json(value) == written
