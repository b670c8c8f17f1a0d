"""The signed report of a comparison of methods: issued when the comparison ends, and checked by whoever receives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from govern.audit import Log
from govern.clock import now
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError, at
from govern.gates.choice import best_of
from govern.records import Plan, Sweep
from govern.reporting.methods import build_methods, render_methods
from govern.signing import SigningKey, throwaway_key
from govern.signing.comparison import (
    COMPARISON_PREDICATE,
    ComparisonPredicate,
    MethodClaim,
    comparison_predicate,
    comparison_statement,
)
from govern.signing.page import check_page, identity, refuse_changed, sign_page
from govern.signing.statement import parse_canonical
from govern.version import __version__
from govern.workflow.files import BEFORE, PLAN, POLICY, REPORT, STATEMENT, SWEEP, TRIALS
from govern.workflow.people.reports import signer_of
from govern.workflow.runs import read_history
from govern.workspace import RunFolder, Workspace

_BOUND = {BEFORE, PLAN, POLICY, REPORT, SWEEP, TRIALS}


@dataclass(frozen=True)
class CheckedComparison:
    """A comparison whose files are the ones that were signed. `signer` is who holds the key, None where nobody says."""

    path: Path
    claim: ComparisonPredicate
    signer: str | None
    fingerprint: str
    files: int


def issue_comparison(
    log: Log,
    folder: RunFolder,
    plan: Plan,
    record: Sweep,
    budget: float | None,
    points: int | None,
    bound: Mapping[str, str],
    key: SigningKey | None,
) -> tuple[str, dict[str, str]]:
    """Render and sign a comparison's report over all that the sweep keeps, `bound` (name → SHA-256), and store it.

    Without a `key` it is signed by a throw-away one and says so. Returns the signer's fingerprint, and the report's
    files with their SHA-256: the event that ends the sweep binds them.
    """
    signing_key = key or throwaway_key()
    signer = identity(signing_key)
    issued = now()
    position = log.position()
    best = {method: found for method in methods_of(record) if (found := best_of(record.points, method))}
    report = {
        "issued": issued,
        "signer": signer.to_json(),
        "audit": position.to_json(),
        "budget": budget,
        "points": points,
    }
    page = render_methods(build_methods(record, plan, report, best))
    predicate = ComparisonPredicate(
        govern=__version__,
        sweep=record.sweep,
        policy_digest=record.policy_digest,
        plan_digest=record.plan_digest,
        model=record.model_digest,
        seed=plan.seed,
        budget=budget,
        points=points,
        methods=claims_of(record),
        template=page.template_sha256,
        audit=position,
        signer=signer,
        issued=issued,
    )
    pages = {REPORT: page.data}
    files = {
        **pages,
        **sign_page(pages, lambda drawn: comparison_statement({**bound, **drawn}, predicate), signing_key),
    }
    for name, data in files.items():
        folder.write(name, data)
    return signer.fingerprint, {name: sha256_bytes(data) for name, data in files.items()}


def methods_of(record: Sweep) -> tuple[str, ...]:
    """The methods of a comparison, each once."""
    return tuple(dict.fromkeys(point.group for point in record.points))


def claims_of(record: Sweep) -> tuple[MethodClaim, ...]:
    """What a comparison's record says of each method."""
    best = [(method, best_of(record.points, method)) for method in methods_of(record)]
    return tuple(
        MethodClaim(
            method=method,
            point=found.number if found else None,
            forget=found.forget if found else None,
            utility=found.utility if found else None,
        )
        for method, found in best
    )


def is_comparison(report: Path) -> bool:
    """Whether the statement beside a report says that it is a comparison's; `check_comparison` then tells for sure."""
    statement = report.parent / STATEMENT
    return statement.is_file() and COMPARISON_PREDICATE.encode() in statement.read_bytes()


def check_comparison(report: Path, *, workspace: Path) -> CheckedComparison:
    """Check a comparison: its signature, and every file that it binds. Needs no log and no network.

    Raises IntegrityError naming the file that was changed or is missing.
    """
    if not report.is_file():
        raise UsageError("there is no such report", where=str(report), hint="Name the report.html of a comparison.")
    folder = RunFolder(report.parent.resolve())
    checked = check_page(report, comparison_predicate)
    claim, subjects = checked.claim, checked.subjects
    if unbound := _BOUND - subjects.keys():
        raise IntegrityError(
            f"the statement does not bind {', '.join(sorted(unbound))}, which a comparison rests on",
            where=str(folder.root / STATEMENT),
        )
    for name, expected in subjects.items():
        refuse_changed(_bound_file(folder, name), name, expected)
    record = parse_canonical(Sweep, folder.read(SWEEP), SWEEP)
    plan = parse_canonical(Plan, folder.read(PLAN), PLAN)
    digests = (plan.policy_digest, plan.sha256, plan.model.digest)
    agree = (
        digests == (claim.policy_digest, claim.plan_digest, claim.model)
        and digests == (record.policy_digest, record.plan_digest, record.model_digest)
        and (claim.sweep, claim.seed, claim.methods) == (record.sweep, plan.seed, claims_of(record))
        and record.kind == "methods"
        and plan.policy_sha256 == subjects[POLICY]
    )
    if not agree:
        raise IntegrityError(
            f"the statement claims something else than {SWEEP}, {PLAN} or {POLICY}, which it binds",
            where=str(folder.root / STATEMENT),
            hint="Do not rely on it: what was signed contradicts itself.",
        )
    with at(report):
        signer, _ = signer_of(workspace, read_history(Workspace(workspace)), checked)
    return CheckedComparison(
        path=report,
        claim=claim,
        signer=signer,
        fingerprint=checked.key.fingerprint,
        files=len(subjects),
    )


def _bound_file(folder: RunFolder, name: str) -> Path:
    """A file of a folder that came from anywhere. Raises IntegrityError where its name leads out or there is none."""
    try:
        path = folder.path(name)
        if path.is_file():
            return path
    except (UsageError, ValueError, OSError):
        raise IntegrityError(
            f"the statement names {name[:80]!r}, which is no file of a comparison", where=str(folder.root / STATEMENT)
        ) from None
    raise IntegrityError(
        f"{name} is missing beside the report",
        where=str(path),
        hint="A comparison is checked together with the files that it binds.",
    )
