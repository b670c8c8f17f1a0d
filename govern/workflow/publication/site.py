"""`govern site`: a signed, static index of all runs of a workspace, and its check."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from govern.audit import Log
from govern.clock import now
from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError, UsageError, at
from govern.evidence.history import History
from govern.records.told import SitePublished
from govern.reporting.document import RunDocument
from govern.reporting.forms import utc
from govern.reporting.site import INDEX, Site, SiteRun, outcome, render_site, sign_off
from govern.signing import SigningKey, throwaway_key
from govern.signing.page import PageFiles, check_page, identity, sign_page
from govern.signing.site import RunClaim, SitePredicate, State, site_predicate, site_statement
from govern.version import __version__
from govern.workflow.files import BUNDLE, REPORT, REPORT_MARKDOWN, SIGNER, STATEMENT
from govern.workflow.people.reports import check_report, signer_of
from govern.workflow.publication.exports import document_of
from govern.workflow.publication.report import refuse_missing_templates
from govern.workflow.publication.status import RunStatus, status
from govern.workflow.runs import events_of, read_history, stored_policy
from govern.workspace import RunFolder, Workspace, write_atomic
from govern.workspace.atomic import sync_folder

SIGNATURE: Final = PageFiles("site.json", "site.sigstore.json", "signer.pub")
# What of a run's folder the site shows.
COPIED: Final = (REPORT, REPORT_MARKDOWN, STATEMENT, BUNDLE, SIGNER)


@dataclass(frozen=True)
class PublishedSite:
    """A site in its place."""

    path: Path
    runs: int
    files: int
    signer: str
    throwaway: bool


@dataclass(frozen=True)
class CheckedSite:
    """A site whose files are the ones that were signed. `signer` is who holds the key, None where nobody says."""

    path: Path
    claim: SitePredicate
    signer: str | None
    fingerprint: str
    files: int


def publish_site(out: Path, *, workspace: Path, key: SigningKey | None, templates: Path | None = None) -> PublishedSite:
    """Write the site of a workspace to `out`, in the place of the site that was there.

    Without a `key` it is signed by a throw-away one and says so. Raises IntegrityError where the log or an artefact is
    not what it was, UsageError where `out` is something else than a site.
    """
    refuse_missing_templates(templates)
    _refuse_other_folder(out)
    signing_key = key or throwaway_key()
    fingerprint = signing_key.public.fingerprint
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False, trust=place.trust) as log:
        log.verify()
        position = log.position()
        # A folder that a killed process made before its first event is no run.
        known = {stored.event.run for stored in log.events(type="apply.started")}
        statuses = [found for found in status(workspace) if found.run in known]
        history = History(log.events())
        documents = [document_of(history, place.run(found.run)) for found in statuses if found.verdict]
        by_run = {document.report.run: document for document in documents}
        issued = now()
        site = Site(
            issued=utc(issued),
            origin=position.origin,
            seq=position.seq,
            signer=fingerprint,
            throwaway=signing_key.throwaway,
            runs=tuple(_site_run(log, place.run(found.run), found, by_run.get(found.run)) for found in statuses),
        )
        rendered = render_site(site, documents, templates=templates)
        files = {**rendered.pages, **_copies(place, site)}
        predicate = SitePredicate(
            govern=__version__,
            issued=issued,
            runs=tuple(_claim(run, found) for run, found in zip(site.runs, statuses, strict=True)),
            audit=position,
            templates=rendered.templates,
            signer=identity(signing_key),
        )
        signature = sign_page(files, lambda drawn: site_statement(drawn, predicate), signing_key, SIGNATURE)
        with _beside(out) as temporary:
            _write(temporary, {**files, **signature})
            log.append(
                "site.published",
                actor=fingerprint,
                parameters=SitePublished(
                    statement=sha256_bytes(signature[SIGNATURE.statement]),
                    runs=len(site.runs),
                    throwaway_key=signing_key.throwaway,
                ).to_json(),
            )
            _put_in_place(temporary, out)
    return PublishedSite(out, len(site.runs), len(files) + len(signature), fingerprint, signing_key.throwaway)


def check_site(folder: Path, *, workspace: Path) -> CheckedSite:
    """Check a site: its signature, every file, and each report in it by the report's own signature.

    Needs no log and no network. Raises IntegrityError naming the file that was changed, added or taken away.
    """
    if not (folder / INDEX).is_file():
        raise UsageError("there is no site here", where=str(folder), hint=f"Name the folder that holds {INDEX}.")
    checked = check_page(folder / INDEX, site_predicate, SIGNATURE)
    claim, subjects, key = checked.claim, checked.subjects, checked.key
    if key.pem != (folder / SIGNATURE.signer).read_bytes():
        raise IntegrityError("the public key is not in the form that govern writes", where=SIGNATURE.signer)
    found = _listed(folder)
    for name in sorted({*subjects, *found}):
        if name not in found:
            raise IntegrityError("a file of the site is missing", where=name)
        if name not in subjects:
            raise IntegrityError("this file is not of the site that was signed", where=name)
        if sha256_file(folder / name) != subjects[name]:
            raise IntegrityError("this file was changed after the site was signed", where=name)
    history = read_history(Workspace(workspace))
    with at(folder / SIGNATURE.statement):
        signer, _ = signer_of(workspace, history, checked)
    for run in claim.runs:
        report = folder / "runs" / run.run / REPORT
        if (run.report is not None) != report.is_file():
            raise IntegrityError("the statement and the folder disagree on a report", where=f"runs/{run.run}/{REPORT}")
        if run.report is not None:
            said = check_report(report, workspace=workspace, history=history).claim
            if (sha256_file(report), said.verdict, said.run) != (run.report, run.verdict, run.run):
                raise IntegrityError("the report is not the one that the site claims", where=f"runs/{run.run}/{REPORT}")
    return CheckedSite(
        path=folder,
        claim=claim,
        signer=signer,
        fingerprint=key.fingerprint,
        files=len(subjects) + len(SIGNATURE),
    )


def _site_run(log: Log, run: RunFolder, found: RunStatus, document: RunDocument | None) -> SiteRun:
    policy, standing = stored_policy(run, events_of(log, run)).policy, found.standing
    signed = (*standing.rejections, *standing.approvals) if standing else ()
    return SiteRun(
        run=run.id,
        policy=policy.name,
        title=policy.title,
        hazard=policy.hazard.domain,
        category=policy.hazard.category,
        model=policy.model.source,
        verdict=found.verdict,
        outcome=outcome(found.verdict),
        state=_state(found),
        outlook=_outlook(found),
        notes=tuple(_notes(found)),
        waits_for=_waits_for(found),
        required=policy.review.required,
        roles=policy.review.roles,
        issued=utc(found.issued) if found.issued else None,
        report=sha256_bytes(run.read(REPORT)) if found.verdict else None,
        signer=document.report.signer.fingerprint if document else None,
        sign_offs=tuple(sign_off(review.act) for review in signed),
    )


def _state(found: RunStatus) -> State:
    if found.revoked:
        return "revoked"
    if not found.applied:
        return "not applied"
    return found.standing.state if found.standing else "not verified"


def _outlook(found: RunStatus) -> str:
    """What a run waits for, in words."""
    standing = found.standing
    if found.revoked:
        return f"Revoked by {found.revoked.act.person.person}: not to be relied on"
    if found.stale:
        return f"Stale since {(found.valid_until or '')[:10]}: to be verified again"
    if standing is None:
        return "Not verified" if found.applied else "Not applied"
    if standing.state == "waiting":
        people = ", ".join(_waits_for(found))
        needed = f"Waits for {standing.missing} of {len(standing.approvals) + standing.missing}"
        return f"{needed}: {people}" if people else f"{needed}, and nobody in the trust document can give it"
    decided = standing.rejections if standing.state == "rejected" else standing.approvals
    by = f" by {', '.join(review.act.reviewer.person for review in decided)}" if decided else ""
    return {
        "approved": f"Approved{by}",
        "rejected": f"Rejected{by}",
        "failed": "A gate failed",
        "not required": "No sign-off required",
    }[standing.state]


def _waits_for(found: RunStatus) -> tuple[str, ...]:
    """The people whose approval would count, where an approval is what the run waits for."""
    if found.standing is None or _state(found) != "waiting":
        return ()
    return tuple(dict.fromkeys(entry.person for entry in found.standing.waits_for))


def _notes(found: RunStatus) -> Iterator[str]:
    """What else a reader has to know of a run's standing."""
    if found.revoked:
        yield f"Do not rely on this removal: {found.revoked.act.reason}"
    if found.valid_until and not found.stale:
        yield f"The verification holds until {found.valid_until[:10]}"
    for waived, state in found.waivers:
        waiver = waived.act
        yield (
            f"{waiver.gate} waived until {waiver.until[:10]} by {waiver.approver.person}, {waiver.approver.role} "
            f"({state}): {waiver.reason}"
        )
    if found.pruned:
        yield f"The weights were dropped on {found.pruned}; the evidence stays"


def _claim(run: SiteRun, found: RunStatus) -> RunClaim:
    return RunClaim(
        run=run.run, verdict=found.verdict, report=run.report, state=_state(found), valid_until=found.valid_until
    )


def _copies(place: Workspace, site: Site) -> dict[str, bytes]:
    """Each newest report with what it is checked with."""
    return {
        f"runs/{run.run}/{name}": place.run(run.run).read(name) for run in site.runs if run.report for name in COPIED
    }


def _refuse_other_folder(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not all((out / name).is_file() for name in SIGNATURE):
        raise UsageError(
            "a site is written only to a new folder or over another site",
            where=str(out),
            hint="Name a folder that does not exist yet.",
        )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside `out`, gone again at the end unless it was moved into its place."""
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    except OSError as error:
        raise UsageError(f"the site cannot be written: {error.strerror}", where=str(out)) from None
    try:
        temporary.chmod(0o755)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)


def _put_in_place(new: Path, out: Path) -> None:
    old = new.with_name(f"{new.name}.old")
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(out.absolute().parent)


def _listed(folder: Path) -> set[str]:
    """Every file below the folder but those of its signature. A link is no file of a site."""
    names = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise IntegrityError("a link does not belong into a site", where=name)
        if path.is_file() and name not in SIGNATURE:
            names.add(name)
    return names
