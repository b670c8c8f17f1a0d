"""Sign-offs: who counts, how often, and for what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from govern.errors import IntegrityError
from govern.records import AuditPosition, Reviewer, SignOff, Trust, TrustEntry
from govern.signing import sign, throwaway_key
from govern.signing.acts import Signed, sign_act, verify_act
from govern.signing.reviews import SIGN_OFF, Standing, standing
from govern.signing.statement import REPORT_PREDICATE, make_statement

KEY, OTHER = throwaway_key(), throwaway_key()
REPORT, ISSUER = "e" * 64, "0" * 64
FILES = {"report.html": REPORT, "report.md": "d" * 64, "statement.json": "c" * 64}
BEGIN, NOW, END = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z"


def entry(name: str, fingerprint: str, **fields: Any) -> TrustEntry:
    default = {"role": "safety-reviewer", "valid_from": BEGIN, "valid_to": END, "revoked_at": None}
    return TrustEntry(person=name, fingerprint=fingerprint * 64, **{**default, **fields})


PEOPLE = (
    entry("Ada", "a"),
    entry("Bob", "b"),
    entry("ada", "1"),  # a second key of Ada's
    entry("Cy", "3", role="legal"),
    entry("Di", "4", revoked_at=BEGIN),
    entry("Ian Issuer", "0", role="safety-reviewer"),
    entry("Ian  issuer", "5"),
)
TRUST = Trust(serial=1, previous=None, issued=BEGIN, root="f" * 64, keys=PEOPLE)


def signoff(person: str = "Ada", **fields: Any) -> SignOff:
    role = next((found.role for found in PEOPLE if found.person == person), "safety-reviewer")
    default: dict[str, Any] = {
        "run": "run-1",
        "report": REPORT,
        "audit": AuditPosition(origin="govern-log/x", seq=5, leaf="9" * 64),
        "decision": "approve",
        "comment": "Read all of it.",
        "reviewer": Reviewer(person=person, role=role),
        "time": NOW,
    }
    return SignOff(**{**default, **fields})


def by(fingerprint: str, logged: str = NOW, **fields: Any) -> Signed[SignOff]:
    person = next((found.person for found in PEOPLE if found.fingerprint == fingerprint * 64), "Eve")
    return Signed(signoff(person, **fields), fingerprint * 64, logged)


def of(*reviews: Signed[SignOff], **fields: Any) -> Standing:
    default: dict[str, Any] = {
        "report": REPORT,
        "verdict": "pass",
        "required": 2,
        "roles": ("safety-reviewer",),
        "issuer": ISSUER,
        "trust": TRUST,
        "now": NOW,
    }
    return standing(reviews, **{**default, **fields})


def test_two_people_with_two_keys_approve():
    found = of(by("a"), by("b"))
    assert (found.state, found.missing, found.waits_for) == ("approved", 0, ())


def test_it_waits_for_those_whose_approval_would_count():
    found = of(by("a"))
    assert (found.state, found.missing) == ("waiting", 1)
    assert [person.person for person in found.waits_for] == ["Bob"]
    assert [person.person for person in of().waits_for] == ["Ada", "Bob", "ada"]
    assert of(now=END).waits_for == ()


@pytest.mark.parametrize(
    "second",
    [
        by("a"),  # the same key again
        by("1"),  # another key of the same person
        by("3"),  # another role than the policy's
        by("4"),  # a revoked key
        by("0"),  # the issuer's key
        by("5"),  # another key of the issuer
        by("7"),  # a key nobody vouches for
        by("b", report="f" * 64),  # another report
        by("b", reviewer=Reviewer(person="Ada", role="safety-reviewer")),  # a name that is not the key's
        by("b", reviewer=Reviewer(person="Bob", role="legal")),  # a role that is not the key's
        by("b", time="2025-12-31T23:59:59Z"),  # signed before the key counted
        by("b", time=END),
        by("b", logged=END),  # dated back: the log took it in later
    ],
)
def test_what_does_not_count(second):
    found = of(by("a"), second)
    assert (found.state, found.missing) == ("waiting", 1)
    # Nor does a rejection by the same hand block.
    rejection = Signed(second.act.model_copy(update={"decision": "reject"}), second.fingerprint, second.logged)
    blocked = second.fingerprint[0] in "a1" or second.act.report != REPORT
    assert of(rejection).state == ("rejected" if blocked else "waiting")


def test_a_rejection_stands_whatever_comes_after_and_whatever_the_report():
    rejection = by("b", decision="reject", report="f" * 64)
    assert of(rejection, by("a"), by("b")).state == "rejected"
    assert of(rejection, required=0).state == "rejected"
    assert of(rejection, verdict="fail").state == "rejected"


def test_a_failed_gate_is_not_approved_away():
    assert of(by("a"), by("b"), verdict="fail").state == "failed"
    assert of(by("a"), by("b"), verdict="inconclusive").state == "approved"


def test_none_required_is_none_required():
    assert of(required=0).state == "not required"


def test_no_roles_means_any_role():
    assert of(by("a"), by("3"), roles=()).state == "approved"


@given(st.lists(st.sampled_from([by(key) for key in "ab1345 07".replace(" ", "")]), max_size=12), st.integers(0, 4))
def test_more_signatures_never_make_more_people(reviews, required):
    found = of(*reviews, required=required)
    assert len(found.approvals) <= 2
    assert found.missing == max(0, required - len(found.approvals))
    assert len({review.fingerprint for review in found.approvals}) == len(found.approvals)


def test_a_sign_off_comes_back():
    bundle = sign_act(SIGN_OFF, signoff(), FILES, KEY)
    assert verify_act(SIGN_OFF, bundle, KEY.public, FILES) == signoff()


def test_a_sign_off_of_another_key_report_or_kind_is_refused():
    bundle = sign_act(SIGN_OFF, signoff(), FILES, KEY)
    with pytest.raises(IntegrityError, match="another key"):
        verify_act(SIGN_OFF, bundle, OTHER.public)
    with pytest.raises(IntegrityError, match="another report"):
        verify_act(SIGN_OFF, bundle, KEY.public, {**FILES, "report.md": "1" * 64})
    with pytest.raises(IntegrityError, match="not among"):
        verify_act(SIGN_OFF, sign_act(SIGN_OFF, signoff(report="1" * 64), FILES, KEY), KEY.public)
    for place in range(len(bundle)):
        changed = bytearray(bundle)
        changed[place] ^= 1
        with pytest.raises(IntegrityError):
            verify_act(SIGN_OFF, bytes(changed), KEY.public)


def test_a_signature_of_another_type_is_no_sign_off():
    with pytest.raises(IntegrityError, match="not about a sign-off"):
        verify_act(SIGN_OFF, sign(make_statement(FILES, REPORT_PREDICATE, signoff()), KEY), KEY.public)


@pytest.mark.parametrize("comment", ["\x1b[2J", "a\rb", "\u202eevil", "a\tb", "\u200b", "x" * 4001])
def test_a_comment_that_could_steer_a_reader_is_refused(comment):
    with pytest.raises(ValidationError):
        signoff(comment=comment)
