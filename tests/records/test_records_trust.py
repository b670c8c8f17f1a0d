"""Trust: one meaning for each key, and signatures that count only while it holds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from govern.records import Trust, TrustEntry

ADA = TrustEntry(
    fingerprint="a" * 64,
    person="Ada Example",
    role="safety-reviewer",
    valid_from="2026-01-01T00:00:00Z",
    valid_to="2027-01-01T00:00:00Z",
    revoked_at=None,
)
TRUST: dict[str, Any] = {
    "serial": 1,
    "previous": None,
    "issued": "2026-01-01T00:00:00Z",
    "root": "0" * 64,
    "keys": (ADA,),
}


def changed(**fields: Any) -> TrustEntry:
    return TrustEntry.model_validate({**ADA.to_json(), **fields})


@pytest.mark.parametrize(
    ("time", "counts"),
    [
        ("2025-12-31T23:59:59Z", False),
        ("2026-01-01T00:00:00Z", True),
        ("2026-12-31T23:59:59Z", True),
        ("2027-01-01T00:00:00Z", False),
    ],
)
def test_a_signature_counts_from_the_beginning_until_before_the_end(time: str, counts: bool) -> None:
    assert ADA.holds_at(time) is counts


def test_a_revocation_reaches_back_to_the_theft_and_no_further() -> None:
    revoked = changed(revoked_at="2026-06-01T00:00:00Z")
    assert revoked.holds_at("2026-05-31T23:59:59Z")
    assert not revoked.holds_at("2026-06-01T00:00:00Z")
    assert not changed(revoked_at="2025-01-01T00:00:00Z").holds_at("2026-05-31T23:59:59Z")


@pytest.mark.parametrize(
    "fields",
    [
        {"fingerprint": "A" * 64},
        {"fingerprint": "a" * 64 + "\n"},
        {"person": "Ada\x1b[2J"},
        {"person": " Ada"},
        {"person": ""},
        {"role": "a" * 121},
        {"valid_from": "2026-01-01"},
        {"valid_from": "2026-13-01T00:00:00Z"},
        {"valid_from": "2026-01-01T00:00:00+00:00"},
        {"valid_to": "2025-12-31T23:59:59Z"},
    ],
)
def test_a_bad_entry_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        changed(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"keys": (ADA, ADA)},
        {"root": ADA.fingerprint},
        {"serial": 0},
        {"serial": 2},
        {"previous": "1" * 64},
    ],
)
def test_a_bad_document_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Trust.model_validate({**TRUST, **fields})


def test_a_key_is_found_by_its_fingerprint_alone() -> None:
    trust = Trust.model_validate(TRUST)
    assert trust.entry("a" * 64) == ADA
    assert trust.entry("b" * 64) is None
