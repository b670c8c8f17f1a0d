"""Without anybody's key, nobody makes status, a report's check or an audit say something that is not so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_team import Team
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

import govern
import govern.audit.log as audit_log
from govern import clock
from govern.audit import Log
from govern.cli import app
from govern.digests import canonical_json, sha256_bytes
from govern.errors import IntegrityError, UsageError
from govern.evidence.history import History
from govern.evidence.names import ISSUED_FILES, KINDS
from govern.records import Event, Reviewer, Revocation
from govern.signing import sign, throwaway_key
from govern.signing.acts import sign_act
from govern.signing.reviews import SIGN_OFF
from govern.signing.waivers import REVOCATION
from govern.workflow.people import signed as signing_story
from govern.workflow.people import trust as trust_story
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.people.reports import check_report
from govern.workflow.people.review import review
from govern.workflow.people.trust import add_key, in_force, revoke_key
from govern.workflow.publication import report as report_story
from govern.workflow.publication.audit import audit, repair
from govern.workflow.publication.evidence import pack
from govern.workflow.publication.exports import reported
from govern.workflow.publication.site import publish_site
from govern.workflow.publication.status import status
from govern.workflow.runs import believed
from govern.workspace import RunFolder, Workspace


def forged(team: Team, run: RunFolder, kind: str, **changed: Any) -> None:
    """Append the newest event of a kind once more, changed: whoever holds the database can."""
    with Log.open(team.workspace / "audit.db", create=False, trust=team.workspace / "trust.yaml") as log:
        last = list(log.events(run=run.id, type=kind))[-1].event  # type: ignore[arg-type]
        told = {name: getattr(last, name) for name in Event.model_fields}
        fields = {**told, **changed}
        for name in ("format_version", "origin", "seq", "prev", "time", "trust", "type"):
            del fields[name]
        log.append(kind, **fields)  # type: ignore[arg-type]


def put_back(team: Team, run: RunFolder, other: RunFolder, folder: str, *, verdict: str | None = None) -> None:
    """Lay another report over a run's newest one, under an event of its own, as an issuer would."""
    fresh = run.next_numbered("reports")
    files = {name: other.read(f"{folder}/{name}") for name in ISSUED_FILES}
    for name, data in files.items():
        run.write(f"{fresh}/{name}", data)
        run.write(name, data)
    digests = {path: sha256_bytes(data) for name, data in files.items() for path in (name, f"{fresh}/{name}")}
    told = {"verdict": verdict or json.loads(files["statement.json"])["predicate"]["verdict"], "throwaway_key": False}
    forged(team, run, "report.issued", digests=digests, parameters=told)


def nobody_believes(team: Team, run: RunFolder, out: Path) -> None:
    """None of those that say something of a run is more credulous than another."""
    asked: list[Callable[[], object]] = [
        lambda: status(team.workspace),
        lambda: status(team.workspace, run_id=run.id),
        lambda: audit(team.workspace),
        lambda: check_report(run.path("report.html"), workspace=team.workspace),
        lambda: reported(run.id, workspace=team.workspace),
        lambda: publish_site(out / "site", workspace=team.workspace, key=None),
        lambda: review(
            run.id, decision="approve", comment="", workspace=team.workspace, key=team.keys["ada"]
        ),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(IntegrityError):
            ask()
    assert not (out / "site").exists()


def test_another_run_s_report_is_not_this_one_s(team: Team, tmp_path: Path) -> None:
    first = RunFolder(team.run)
    govern.apply(team.policy.path, workspace=team.workspace)
    govern.verify(workspace=team.workspace, key=team.keys["ian"])
    second = next(run for run in Workspace(team.workspace).runs() if run.id != first.id)
    put_back(team, second, first, "reports/001")
    nobody_believes(team, second, tmp_path)


def test_an_older_report_is_not_the_newest_verification_s(team: Team, tmp_path: Path) -> None:
    govern.verify(workspace=team.workspace, key=team.keys["ian"])
    run = RunFolder(team.run)
    put_back(team, run, run, "reports/001")
    nobody_believes(team, run, tmp_path)


def test_an_older_report_of_the_same_verification_is_issued_once(team: Team, tmp_path: Path) -> None:
    """Nobody signs off a report away: people approved the newest, and the one before it is put in its place."""
    team.reissue()
    run = RunFolder(team.run)
    put_back(team, run, run, "reports/001")
    nobody_believes(team, run, tmp_path)


def test_one_second_has_one_report_of_one_key(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.reissue()
    issued = check_report(team.run / "report.html", workspace=team.workspace).claim.issued
    monkeypatch.setattr(report_story, "now", lambda: issued)
    with pytest.raises(UsageError, match="issued this very second"):
        govern.render(workspace=team.workspace, key=team.keys["ian"])
    govern.render(workspace=team.workspace)  # by a key of its own it is another report


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("report.issued", {"parameters": {"verdict": "pass", "throwaway_key": False}}),
        ("report.issued", {"actor": "f" * 64}),
        ("report.issued", {"model_after": "f" * 64}),
        ("report.issued", {"policy_digest": "f" * 64}),
        ("report.issued", {"parameters": {"verdict": "fail\nsigned by Ada", "throwaway_key": False}}),
        ("verify.finished", {"parameters": {"verdict": "pass", "attempt": 1}}),
        ("verify.finished", {"parameters": {"verdict": "inconclusive", "attempt": 7}}),
        ("verify.finished", {"digests": {}}),
        ("verify.finished", {"model_after": "f" * 64}),
        ("apply.finished", {"model_after": "f" * 64}),
        ("review.signed", {"parameters": {"decision": "reject", "report": "f" * 64, "role": "safety-reviewer"}}),
        ("review.signed", {"actor": "f" * 64}),
        ("review.signed", {"digests": {}}),
    ],
)
def test_an_event_that_tells_of_something_else_is_named(
    team: Team, tmp_path: Path, kind: str, changed: dict[str, Any]
) -> None:
    team.decide("ada")
    forged(team, RunFolder(team.run), kind, **changed)
    nobody_believes(team, RunFolder(team.run), tmp_path)


def test_a_verification_without_a_report_is_no_verdict(team: Team) -> None:
    """Killed between the two, or forged: the older report's verdict no longer stands for the run."""
    forged(team, RunFolder(team.run), "verify.finished")
    (found,) = status(team.workspace)
    assert (found.verdict, found.standing, found.unreported) == (None, None, True)
    with pytest.raises(UsageError, match="no report of its newest verification"):
        team.decide("ada")
    assert check_report(team.run / "report.html", workspace=team.workspace).newest is False
    team.reissue()
    (found,) = status(team.workspace)
    assert (found.verdict, found.unreported) == ("inconclusive", False)
    assert check_report(team.run / "report.html", workspace=team.workspace).newest is True


def test_weights_alone_can_be_pruned(team: Team) -> None:
    run = RunFolder(team.run)
    with Log.open(team.workspace / "audit.db", create=False) as log:
        log.append("run.pruned", run=run.id, parameters={"dropped": {"report.html": "0" * 64}, "bytes": 1})
    with pytest.raises(IntegrityError, match=r"drops report\.html"):
        status(team.workspace)


def test_a_stranger_revokes_nothing(team: Team, tmp_path: Path) -> None:
    """Their signature holds and names Ada, whose key it is not."""
    stranger = throwaway_key()
    removal = json.loads((team.run / "removal.json").read_bytes())
    with Log.open(team.workspace / "audit.db", create=False) as log:
        revocation = Revocation(
            run=team.run.name,
            delta_sha256=removal["delta_sha256"],
            model_after=removal["edited_model_digest"],
            reason="Never did this happen.",
            person=Reviewer(person="Ada Example", role="safety-reviewer"),
            audit=log.position(),
            time=clock.now(),
        )
        bundle = sign_act(REVOCATION, revocation, {"delta.safetensors": revocation.delta_sha256}, stranger)
        files = {"revocations/001/revocation.sigstore.json": bundle, "revocations/001/revoker.pub": stranger.public.pem}
        for name, data in files.items():
            RunFolder(team.run).write(name, data)
        log.append(
            "removal.revoked",
            actor=stranger.public.fingerprint,
            run=team.run.name,
            model_after=revocation.model_after,
            digests={name: sha256_bytes(data) for name, data in files.items()},
            parameters=revocation.told().to_json(),
        )
    for ask in (status, audit):
        with pytest.raises(IntegrityError, match="nobody vouches"):
            ask(team.workspace)


def test_a_report_by_a_key_that_nobody_knows_says_so(team: Team) -> None:
    (before,) = status(team.workspace)
    assert before.signer == "Ian Issuer"
    team = Team(team.policy, {**team.keys, "ian": throwaway_key()})
    team.reissue()
    (found,) = status(team.workspace)
    assert (found.verdict, found.signer, found.named) == ("inconclusive", None, True)
    shown = CliRunner().invoke(app, ["status", "-w", str(team.workspace)], env={"COLUMNS": "300"})
    assert "nobody vouches for" in shown.output


def backdate(monkeypatch: pytest.MonkeyPatch, time: str) -> None:
    """The clock goes back: for what people sign, and for the log."""
    for story in (signing_story, trust_story):
        monkeypatch.setattr(story, "now", lambda: time)
    monkeypatch.setattr(audit_log, "now", lambda: time.replace("Z", ".000000Z"))


def test_a_clock_that_goes_back_revives_no_key(team: Team, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = trust_story.now()
    team.reissue()  # a second passes
    revoke_key(team.workspace, team.keys["ada"].public.fingerprint, root=team.keys["root"])
    backdate(monkeypatch, before)
    done = review(None, decision="approve", comment="", workspace=team.workspace, key=team.keys["ada"])
    monkeypatch.undo()
    assert done.standing.approvals == ()
    (found,) = status(team.workspace)
    assert found.standing is not None
    assert (found.standing.state, found.standing.missing) == ("waiting", 2)
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    packed = pack(None, tmp_path / "pack", workspace=team.workspace, log_key=key)
    assert packed.checked.standing is not None
    assert packed.checked.standing.approvals == ()


def test_a_backdated_key_vouches_for_nothing_before_it(team: Team) -> None:
    """The log shows when a key came into the series, whatever the document says of it."""
    team.decide("ada")
    with Log.open(team.workspace / "audit.db", create=False) as log:
        history = History(log.events())
    trusting = in_force(team.workspace, history)
    assert trusting is not None
    (signed,) = believed(history, RunFolder(team.run)).of(SIGN_OFF)
    assert trusting.vouched(signed)
    late = type(trusting)(trusting.trust, trusting.sha256, trusting.root, {signed.fingerprint: signed.seq + 1})
    assert not late.vouched(signed)


@pytest.mark.parametrize("serial", ["003", "006"])
def test_an_older_trust_document_is_found_by_all(team: Team, serial: str, tmp_path: Path) -> None:
    revoke_key(team.workspace, team.keys["ada"].public.fingerprint, root=team.keys["root"])
    assert (team.workspace / "trust" / serial).is_dir()
    shutil.copy(team.workspace / "trust" / serial / "trust.yaml", team.workspace / "trust.yaml")
    nobody_believes(team, RunFolder(team.run), tmp_path)
    assert repair(team.workspace) == ["trust.yaml is the document that the log put in force"]
    assert repair(team.workspace) == []
    audit(team.workspace)
    with pytest.raises(UsageError, match="nobody vouches"):
        team.decide("ada")


def test_a_deleted_trust_document_hides_no_rejection(team: Team, tmp_path: Path) -> None:
    assert team.decide("ada", "reject") == "rejected"
    shutil.rmtree(team.workspace / "trust")
    (team.workspace / "trust.yaml").unlink()
    nobody_believes(team, RunFolder(team.run), tmp_path)


def test_a_new_series_takes_over_nothing(team: Team, tmp_path: Path) -> None:
    """Whoever holds the database begins a series with a root of their own, and lays it over the old one."""
    stranger = throwaway_key()
    other = tmp_path / "other"
    (other / "runs").mkdir(parents=True)
    trust_story.init_trust(other, root=stranger)
    shutil.copytree(other / "trust", team.workspace / "trust", dirs_exist_ok=True)
    shutil.copy(other / "trust.yaml", team.workspace / "trust.yaml")
    with Log.open(other / "audit.db", create=False) as log:
        last = log.head()
    assert last is not None
    with Log.open(team.workspace / "audit.db", create=False) as log:
        log.append(
            "trust.changed",
            actor=stranger.public.fingerprint,
            digests=last.event.digests,
            parameters=last.event.parameters,
        )
    nobody_believes(team, RunFolder(team.run), tmp_path)


@pytest.mark.parametrize(
    "other",
    ["Ian Issu\u0435r", "\u0410da Example", "Ada Ex\u0430mple", "ada example", "\uff21da Example", "Ada ExampIe"],
)
def test_one_person_is_not_two(team: Team, other: str) -> None:
    known = "Ian Issuer" if other.startswith("Ian") else "Ada Example"
    with pytest.raises(UsageError, match=f"could be taken for {known}"):
        add_key(team.workspace, throwaway_key().public, person=other, role="safety-reviewer", root=team.keys["root"])


@pytest.mark.parametrize("blank", ["\u3164", "\u2800", "\u200b", "\u202e", "\ufe0f", "\U000e0100", "\n", "\u115f"])
def test_a_name_shows_all_of_itself(team: Team, blank: str) -> None:
    with pytest.raises(UsageError) as caught:
        add_key(
            team.workspace, throwaway_key().public, person=f"Ada{blank}Example", role="x", root=team.keys["root"]
        )  # fmt: skip
    assert caught.value.where == "person"


@pytest.mark.parametrize(
    "field", [("run",), ("govern",), ("issued",), ("audit", "origin"), ("gates", 0, "task")]
)  # fmt: skip
def test_a_stranger_s_words_form_no_line_of_ours(verified: TinyPolicy, tmp_path: Path, field: tuple[Any, ...]) -> None:
    source, folder, key = next((verified.workspace / "runs").iterdir()), tmp_path / "strange", throwaway_key()
    folder.mkdir()
    for name in ("report.html", "report.md"):
        shutil.copy(source / name, folder / name)
    statement = json.loads((source / "statement.json").read_bytes())
    place = statement["predicate"]
    place["signer"] = {"fingerprint": key.public.fingerprint, "kind": "kept"}
    for part in field[:-1]:
        place = place[part]
    place[field[-1]] = f"{place[field[-1]]}\nsigned  2026 by sha256:0\n        valid, signer Ada Example"
    data = canonical_json(statement)
    signed = {"statement.json": data, "report.sigstore.json": sign(data, key), "signer.pub": key.public.pem}
    for name, content in signed.items():
        (folder / name).write_bytes(content)
    shown = CliRunner().invoke(app, ["report", "verify", str(folder / "report.html"), "-w", str(tmp_path)])
    assert "signer Ada Example" not in shown.output.replace("\\n", "¶")
    assert shown.exit_code != 0


def test_a_report_that_was_logged_and_not_laid_out_is_completed(team: Team) -> None:
    team.reissue()
    for name in ("report.html", "statement.json"):
        shutil.copy(team.run / "reports" / "001" / name, team.run / name)
    (team.run / "report.md").unlink()
    for ask in (status, audit):
        with pytest.raises(IntegrityError, match="govern audit repair"):
            ask(team.workspace)
    assert len(repair(team.workspace)) == 1
    assert repair(team.workspace) == []
    audit(team.workspace)
    # What never was a report of the run is no half-done work.
    (team.run / "report.html").write_text("forged")
    with pytest.raises(IntegrityError, match="was changed"):
        audit(team.workspace)
    assert repair(team.workspace) == []


def test_every_act_is_of_one_kind_with_files_of_its_own() -> None:
    names = [name for kind in KINDS for name in (kind.bundle, kind.key, kind.series)]
    assert len(set(names)) == len(names)
