"""What a signed site claims: which runs it shows, with which verdicts, and where the log stood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from govern.records import AuditPosition, Line, Record, RunId, Sha256, UtcTime, VerdictValue
from govern.signing.statement import SignerIdentity, Statement, make_statement, parse_predicate

SITE_PREDICATE: Final = "urn:govern:predicate:site:v1"

State = Literal["not applied", "not verified", "approved", "rejected", "failed", "waiting", "not required", "revoked"]


class RunClaim(Record):
    """One run as the site shows it: inside the signature, so that no template can say otherwise.

    The verification holds until `valid_until` (`UtcTime`), None for no end.
    """

    run: RunId
    verdict: VerdictValue | None
    report: Sha256 | None
    state: State
    valid_until: UtcTime | None


class SitePredicate(Record):
    """What a signed site claims. The subjects are all of its files but the three of the signature.

    `templates` maps each template to the SHA-256 over its files; `issued` is UTC, RFC 3339.
    """

    issued: UtcTime
    runs: tuple[RunClaim, ...]
    audit: AuditPosition
    templates: dict[str, Sha256]
    signer: SignerIdentity
    govern: Line


def site_statement(subjects: Mapping[str, str], predicate: SitePredicate) -> bytes:
    """The statement over a site's files (name → SHA-256), as RFC 8785 bytes ready to sign."""
    return make_statement(subjects, SITE_PREDICATE, predicate)


def site_predicate(statement: Statement) -> SitePredicate:
    """What a statement claims about a site. Raises IntegrityError where it is a statement of another kind."""
    return parse_predicate(statement, SITE_PREDICATE, SitePredicate, "site")
