"""Honest and hostile actions in any order: all that say something of a run say the same, and only what was signed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from review_team import Team
from tiny_policy import TinyPolicy

import govern.audit.log as audit_log
from govern.audit import Log
from govern.clock import now
from govern.digests import sha256_bytes
from govern.errors import IntegrityError, UsageError
from govern.evidence.names import ISSUED_FILES
from govern.records import SignOff
from govern.workflow.people import signed as signing_story
from govern.workflow.people import trust as trust_story
from govern.workflow.people.reports import check_report
from govern.workflow.people.review import review
from govern.workflow.people.trust import revoke_key
from govern.workflow.publication.audit import audit, repair
from govern.workflow.publication.exports import reported
from govern.workflow.publication.status import status
from govern.workspace import RunFolder

REVIEWERS = st.sampled_from(["ada", "bob"])


class Claims(RuleBasedStateMachine):
    """What was signed, kept beside the workspace, and a workspace that anybody without a key may change."""

    once: Team

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(self.once.workspace, self.folder / "audits")
        self.team = Team(TinyPolicy(self.once.policy.path, self.folder / "audits"), self.once.keys)
        self.began = now()
        self.said: list[tuple[str, SignOff, bool]] = []
        self.revoked: dict[str, str] = {}
        self.reports = 1

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.team.run)

    # What honest people do.

    @rule(who=REVIEWERS, decision=st.sampled_from(["approve", "approve", "approve", "reject"]), back=st.booleans())
    def decide(self, who: str, decision: Any, back: bool) -> None:
        """Somebody signs, at times on a machine whose clock went back to when all of this began."""
        clocks: list[tuple[Any, str]] = [
            (signing_story, self.began),
            (trust_story, self.began),
            (audit_log, self.began.replace("Z", ".000000Z")),
        ]
        kept = [story.now for story, _ in clocks]
        try:
            if back:
                for story, time in clocks:
                    story.now = lambda time=time: time
            done = review(None, decision=decision, comment="", workspace=self.team.workspace, key=self.team.keys[who])
            self.said.append((who, done.act, who in self.revoked))
        except UsageError:
            if who not in self.revoked and all(who != name for name, _, _ in self.said):
                raise
        finally:
            for (story, _), before in zip(clocks, kept, strict=True):
                story.now = before

    @precondition(lambda self: len(self.revoked) < 2)
    @rule(who=REVIEWERS)
    def revoke(self, who: str) -> None:
        """A key is ended."""
        if who not in self.revoked:
            trusting = revoke_key(
                self.team.workspace, self.team.keys[who].public.fingerprint, root=self.team.keys["root"]
            )
            entry = trusting.trust.entry(self.team.keys[who].public.fingerprint)
            assert entry is not None
            assert entry.revoked_at is not None
            self.revoked[who] = entry.revoked_at

    @precondition(lambda self: self.reports < 3)
    @rule()
    def reissue(self) -> None:
        """The report is issued again, so that approvals are to be given again."""
        self.team.reissue()
        self.reports += 1

    # What somebody does who holds the disk and no key.

    @rule(serial=st.integers(1, 8))
    def old_trust(self, serial: int) -> None:
        """An older trust document is put back."""
        document = self.team.workspace / "trust" / f"{serial:03d}" / "trust.yaml"
        if document.exists():
            self.attack(lambda: shutil.copy(document, self.team.workspace / "trust.yaml"))
            repair(self.team.workspace)

    @rule(trust=st.sampled_from(["trust", "trust.yaml"]))
    def no_trust(self, trust: str) -> None:
        """The trust document is gone, or its series."""
        path = self.team.workspace / trust
        self.attack(lambda: shutil.rmtree(path) if path.is_dir() else path.unlink())

    @rule(number=st.integers(1, 3))
    def old_report(self, number: int) -> None:
        """An older report is issued anew by an event alone, as its issuer would."""
        folder = f"reports/{number:03d}"
        if self.run.path(folder).is_dir():
            self.attack(lambda: self.issue_again(folder))

    @rule(
        kind=st.sampled_from(["report.issued", "verify.finished", "apply.finished", "review.signed", "trust.changed"]),
        field=st.sampled_from(["parameters", "digests", "actor", "model_after", "policy_digest", "nothing"]),
    )
    def forge(self, kind: Any, field: str) -> None:
        """An event is appended once more, with something else in it or nothing."""

        def append() -> None:
            with Log.open(self.team.workspace / "audit.db", create=False) as log:
                found = [stored.event for stored in log.events(type=kind)]
                if found:
                    names = ("actor", "run", "policy_digest", "model_before", "model_after", "digests", "parameters")
                    fields = {name: getattr(found[-1], name) for name in names}
                    other: Any = {} if field in ("parameters", "digests") else "f" * 64
                    log.append(kind, **(fields if field == "nothing" else {**fields, field: other}))

        self.attack(append)

    @rule(data=st.data())
    def change_a_file(self, data: st.DataObject) -> None:
        """A file of the run is changed, emptied or taken away."""
        paths = sorted(path for path in self.run.root.rglob("*") if path.is_file() and path.name != ".lock")
        # How many there are depends on the second in which people signed, and a draw may not.
        path = paths[data.draw(st.integers(0, 1 << 16)) % len(paths)]
        how: Callable[[Path], object] = data.draw(
            st.sampled_from([Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"{}")])
        )
        self.attack(lambda: how(path))

    def attack(self, change: Callable[[], object]) -> None:
        """Change the workspace: all refuse what they find, or all say what was said before. Then it is put back."""
        backup = self.folder / "backup"
        shutil.copytree(self.team.workspace, backup)
        state = self.state()
        change()
        self.same_answers(state, hostile=True)
        shutil.rmtree(self.team.workspace)
        backup.rename(self.team.workspace)

    def issue_again(self, folder: str) -> None:
        files = {name: self.run.read(f"{folder}/{name}") for name in ISSUED_FILES}
        for name, data in files.items():
            self.run.write(name, data)
        with Log.open(self.team.workspace / "audit.db", create=False) as log:
            last = list(log.events(run=self.run.id, type="report.issued"))[-1].event
            digests = {path: sha256_bytes(data) for name, data in files.items() for path in (name, f"{folder}/{name}")}
            log.append(
                "report.issued",
                actor=last.actor,
                run=last.run,
                policy_digest=last.policy_digest,
                model_before=last.model_before,
                model_after=last.model_after,
                digests=digests,
                parameters=last.parameters,
            )

    # What all of them say.

    @invariant()
    def all_agree(self) -> None:
        """Whoever asks hears what the people signed."""
        self.same_answers(self.state(), hostile=False)

    def same_answers(self, state: str, *, hostile: bool) -> None:
        def seen() -> tuple[object, ...]:
            (found,) = status(self.team.workspace)
            if found.unreported:
                return ()
            assert found.standing is not None
            return (found.verdict, found.standing.state)

        verdict, report = "inconclusive", self.run.path("report.html")
        answers = {
            "status": _ask(seen),
            "audit": _ask(lambda: audit(self.team.workspace) and "holds"),
            "report": _ask(lambda: check_report(report, workspace=self.team.workspace).claim.verdict),
            "export": _ask(lambda: reported(None, workspace=self.team.workspace).document.verdict.verdict),
        }
        if not hostile:
            assert answers == {"status": (verdict, state), "audit": "holds", "report": verdict, "export": verdict}
            return
        if answers["status"] == ():
            # A verification that nobody reported yet: nothing is said of the run, by a reader of the newest.
            assert answers["export"] == "refused"
        elif answers["status"] != "refused":
            # What stands for the run is what the people signed; an audit may know more that is wrong.
            assert answers["status"] == (verdict, state)
        else:
            assert answers["audit"] == answers["export"] == "refused"

    def state(self) -> str:
        """What the sign-offs come to, by who signed what and when alone."""
        counted = [
            (who, act)
            for who, act, late in self.said
            if not late and not (who in self.revoked and self.logged(act) >= self.revoked[who])
        ]
        if any(act.decision == "reject" for _, act in counted):
            return "rejected"
        report = sha256_bytes(self.run.read(f"reports/{self.reports:03d}/report.html"))
        approved = {who for who, act in counted if act.report == report}
        return "approved" if len(approved) == 2 else "waiting"

    def logged(self, act: SignOff) -> str:
        """When the log took an act in, in its own order."""
        latest = ""
        with Log.open(self.team.workspace / "audit.db", create=False) as log:
            for stored in log.events():
                latest = max(latest, f"{stored.event.time[:19]}Z")
                if stored.event.type == "review.signed" and stored.event.seq == act.audit.seq + 1:
                    break
        return max(latest, act.time)


def _ask(question: Callable[[], object]) -> object:
    try:
        return question()
    except (IntegrityError, UsageError):
        return "refused"


def _run(team: Team, *, examples: int, steps: int) -> None:
    Claims.once = team
    run_state_machine_as_test(
        Claims,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )


def test_a_few_steps(team_once: Team) -> None:
    _run(team_once, examples=2, steps=4)


@pytest.mark.slow
def test_two_thousand_steps(team_once: Team) -> None:
    _run(team_once, examples=100, steps=20)
