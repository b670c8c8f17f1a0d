"""What events tell is written as it always was, read in one way, and named where somebody else wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from govern.audit.body import parse_event
from govern.errors import IntegrityError
from govern.records import Event, EventType, Record
from govern.records.told import (
    TOLD,
    ApplyBegan,
    KeyGenerated,
    RunPruned,
    SweepFinished,
    TrustChanged,
    VerifyFinished,
    ran_in,
    told,
)

OLD_PACK = Path(__file__).parent.parent / "audit" / "fixtures" / "v1" / "pack"

# What these say in logs that exist: a changed name or a null too many would be another event.
WRITTEN = [
    (KeyGenerated(algorithm="Ed25519", vkey="v"), {"algorithm": "Ed25519", "vkey": "v"}),
    (TrustChanged(serial=1, change="init"), {"serial": 1, "change": "init"}),
    (ApplyBegan(policy_path="/p", method="srmu", alpha=1.5), {"policy_path": "/p", "method": "srmu", "alpha": 1.5}),
    (RunPruned(dropped={"delta.safetensors": "d"}, bytes=5), {"dropped": {"delta.safetensors": "d"}, "bytes": 5}),
    (
        SweepFinished(kind="grid", points=3, chosen=None, nearest=2, settings=None, rule="r", reason="w"),
        {"kind": "grid", "points": 3, "chosen": None, "nearest": 2, "settings": None, "rule": "r", "reason": "w"},
    ),
    (
        VerifyFinished(attempt=2, verdict="pass", remembered={"after": ["a"]}, questions={"a": ["s", "d"]}),
        {"attempt": 2, "verdict": "pass", "remembered": {"after": ["a"]}, "questions": {"a": ["s", "d"]}},
    ),
]


def event(kind: EventType, **fields: object) -> Event:
    nothing = dict.fromkeys(("actor", "run", "policy_digest", "model_before", "model_after", "seed"))
    empty = {name: {} for name in ("digests", "parameters", "environment")}
    place = {"origin": "o", "seq": 7, "prev": "0" * 64, "time": "2026-01-01T00:00:00.000000Z"}
    return Event.model_validate({"type": kind, **nothing, **empty, **place, **fields})


@pytest.mark.parametrize(("record", "expected"), WRITTEN)
def test_what_is_written(record: Record, expected: dict[str, object]) -> None:
    assert record.to_json() == expected
    assert told(event("log.created", parameters=expected), type(record)) == record


def test_every_event_of_an_old_pack_is_read() -> None:
    events = [parse_event(path.read_bytes()) for path in sorted(OLD_PACK.rglob("*event.json"))]
    assert {found.type for found in events} >= {"apply.finished", "verify.finished", "report.issued", "review.signed"}
    for found in events:
        if found.type in TOLD:
            told(found, TOLD[found.type])
        if found.type == "verify.finished":
            assert ran_in(found).govern


def test_only_these_events_tell_nothing() -> None:
    assert set(get_args(EventType)) - set(TOLD) == {
        "log.created",
        "apply.finished",
        "sweep.prepared",
        "reproduce.started",
    }


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"attempt": 1}, "does not say 'verdict'"),
        ({"attempt": "1", "verdict": "pass"}, "does not say in a form that govern writes 'attempt'"),
        ({"attempt": 1, "verdict": "PASS\nsigned by Ada"}, "'verdict'"),
        ({"attempt": 1, "verdict": ["pass"]}, "'verdict'"),
    ],
)
def test_a_malformed_event_is_named_and_not_quoted(parameters: dict[str, object], said: str) -> None:
    with pytest.raises(IntegrityError, match=r"event 7, verify\.finished") as caught:
        told(event("verify.finished", parameters=parameters), VerifyFinished)
    assert said in str(caught.value)
    assert "Ada" not in str(caught.value)
    with pytest.raises(IntegrityError, match="dropped"):
        told(event("run.pruned", parameters={"dropped": "delta.safetensors", "bytes": 1}), RunPruned)
    with pytest.raises(IntegrityError, match="packages"):
        ran_in(event("verify.finished", environment={"govern": "1", "packages": []}))
