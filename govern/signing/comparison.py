"""What a signed comparison of methods claims: on which model and policy, in which budget, and each method's best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from govern.records import AuditPosition, Line, Record, RunId, Score, Sha256, UtcTime
from govern.signing.statement import SignerIdentity, Statement, make_statement, parse_predicate

COMPARISON_PREDICATE: Final = "urn:govern:predicate:comparison:v1"


class MethodClaim(Record):
    """A method's best point on the questions that choose: inside the signature, so that no template can say otherwise.

    `point` is its number in the sweep's record. All three are None where no point of the method was scored.
    """

    method: Line
    point: int | None
    forget: Score | None
    utility: Score | None


class ComparisonPredicate(Record):
    """What a signed comparison claims. The subjects are its report and all that the sweep keeps.

    `budget` is in seconds for one removal, `points` the settings that each method had; None where the comparison was
    begun before they were kept. `template` is the SHA-256 over the template's files; `issued` is UTC, RFC 3339. Nothing
    here is a verdict: the questions that choose settings certify nothing.
    """

    sweep: RunId
    policy_digest: Sha256
    plan_digest: Sha256
    model: Sha256
    seed: int
    budget: float | None
    points: int | None
    methods: tuple[MethodClaim, ...]
    template: Sha256
    audit: AuditPosition
    signer: SignerIdentity
    issued: UtcTime
    govern: Line


def comparison_statement(subjects: Mapping[str, str], predicate: ComparisonPredicate) -> bytes:
    """The statement over a comparison's files (name → SHA-256), as RFC 8785 bytes ready to sign."""
    return make_statement(subjects, COMPARISON_PREDICATE, predicate)


def comparison_predicate(statement: Statement) -> ComparisonPredicate:
    """What a statement claims about a comparison. Raises IntegrityError where it is a statement of another kind."""
    return parse_predicate(statement, COMPARISON_PREDICATE, ComparisonPredicate, "comparison")
