"""Who answers for a removal and on what it stands: people, policy, waivers, earlier attempts, machine, log."""

from __future__ import annotations

from govern.records import GateName, Plan
from govern.records.base import Record
from govern.reporting import forms
from govern.reporting.facts import Documents, Fact, Field, Line, Listing, code, number

# Of a method or an attack that another distribution offers.
ORIGIN = (
    code("origin/distribution", "Not govern's own, but of the distribution"),
    code("origin/version", "Its version"),
    code("origin/digest", "SHA-256 over its files"),
)
PERSONS = (
    Field("plan/owner/name", "Owner"),
    Field("plan/owner/role", "Owner's role"),
    number("plan/reviews_required", "Sign-offs required"),
    Field("plan/review_roles", "By these roles"),
    code("report/signer/fingerprint", "Signed with key (SHA-256 of its DER form)"),
    Field("report/signer/throwaway", "Throw-away key"),
)
POLICY = (
    code("plan/policy_name", "Name"),
    code("plan/policy_digest", "Digest (SHA-256 of the RFC 8785 form)"),
    code("plan/policy_sha256", "SHA-256 of the file"),
)
ENVIRONMENT = (
    Field("plan/environment/govern", "govern"),
    code("plan/environment/commit", "Commit of the code", forms.or_else(forms.plain, "an installed release")),
    Field("plan/environment/dirty", "Uncommitted changes", forms.or_else(forms.plain, "not applicable")),
    Field("plan/environment/python", "Python"),
    Field("plan/environment/platform", "Platform"),
    Field("plan/environment/processor", "Processor"),
    Field("plan/environment/device", "Device"),
    number("plan/environment/threads", "Threads"),
)
AUDIT = (
    code("report/audit_origin", "Log"),
    number("report/audit_seq", "Event of the verification (counted from 0)", forms.plain),
    code("report/audit_leaf", "Its leaf hash"),
    code("verdict/plan_digest", "Digest of the plan"),
)
WAIVERS = Listing(
    "Waivers of this run when the report was issued, each for the report whose digest it names",
    "/report/waivers",
    (
        Field("gate", "Gate", lambda gate: str(GateName(**gate))),
        Field("verdict", "Verdict", forms.VERDICTS.__getitem__),
        Field("approver/person", "Approver", beside=Field("approver/role", "Role")),
        Field("time", "Signed", forms.utc),
        Field("until", "Until", forms.utc),
        Field("reason", "Reason"),
        code("report", "For the report"),
    ),
)
FAILED_RUNS = Listing(
    "What the log holds about this policy or this model before this report",
    "/report/failed_runs",
    (
        code("run", "Run"),
        code("type", "Event"),
        Field("time", "Time", forms.utc),
        Field("message", "Message", forms.or_else(forms.plain, "none")),
    ),
)
_SAID = (
    ("intended_use", "Intended use"),
    ("residual_risk", "Residual risk"),
    ("monitoring", "Monitoring in use"),
    ("rollback", "Rollback"),
)


class PolicyWord(Record):
    """What the policy says of one thing that only people can say; None where it is silent."""

    label: Line
    fact: Fact | None


def said(documents: Documents, plan: Plan) -> tuple[PolicyWord, ...]:
    """What the policy's `deployment` says, and where it is silent."""
    return tuple(
        PolicyWord(
            label=label,
            fact=documents.fact(f"/plan/deployment/{name}", label, kind="prose")
            if plan.deployment and getattr(plan.deployment, name)
            else None,
        )
        for name, label in _SAID
    )


def sign_offs(plan: Plan) -> tuple[str, ...]:
    """The lines of the sign-off block: one for each required sign-off, named after its role where there is one."""
    roles = plan.review_roles
    lines = max(plan.reviews_required, 0)
    if lines and len(roles) == lines:
        return roles
    return (" or ".join(roles) or "reviewer",) * lines
