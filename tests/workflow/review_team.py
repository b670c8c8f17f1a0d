"""A verified run and the people around it: an issuer, two reviewers of the right role, one of another, an approver."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tiny_policy import TinyPolicy

import govern
from govern.signing import SigningKey, generate_key, load_key
from govern.workflow.people.review import review
from govern.workflow.people.revoke import revoke
from govern.workflow.people.trust import add_key, init_trust
from govern.workflow.people.waive import waive

PEOPLE = {
    "ada": ("Ada Example", "safety-reviewer"),
    "bob": ("Bob Example", "safety-reviewer"),
    "ian": ("Ian Issuer", "safety-reviewer"),
    "lea": ("Lea Example", "legal"),
    "max": ("Max Approver", "approver"),
}


@dataclass(frozen=True)
class Team:
    """A workspace and everybody's keys. The policy asks for two safety reviewers."""

    policy: TinyPolicy
    keys: dict[str, SigningKey]

    @property
    def workspace(self) -> Path:
        return self.policy.workspace

    @property
    def run(self) -> Path:
        return next(path for path in (self.workspace / "runs").iterdir())

    def decide(
        self, who: str, decision: Literal["approve", "reject"] = "approve", comment: str = "Read all of it."
    ) -> str:
        reviewed = review(None, decision=decision, comment=comment, workspace=self.workspace, key=self.keys[who])
        return reviewed.standing.state

    def reissue(self) -> None:
        """Issue the report afresh: in another second than the one before, so that it is another one."""
        time.sleep(1 - time.time() % 1)
        govern.render(workspace=self.workspace, key=self.keys["ian"])

    def say_all(self) -> None:
        """Everything that people can sign over the newest run: two approvals, a waiver, and a revocation."""
        self.decide("ada")
        self.decide("bob")
        waive(
            None,
            gate="secret/acc",
            until="2099-01-01T00:00:00Z",
            reason="For the pilot.",
            workspace=self.workspace,
            key=self.keys["max"],
        )
        revoke(None, reason="Overtaken by a better one.", workspace=self.workspace, key=self.keys["lea"])


def keys_of(policy: TinyPolicy) -> dict[str, SigningKey]:
    return {name: load_key(policy.workspace / "keys" / f"{name}.pem", b"password") for name in (*PEOPLE, "root")}


def gather(policy: TinyPolicy) -> Team:
    policy.path.write_text(policy.path.read_text() + "review: {required: 2, roles: [safety-reviewer]}\n")
    for name in (*PEOPLE, "root"):
        generate_key(policy.workspace / "keys" / f"{name}.pem", b"password")
    keys = keys_of(policy)
    init_trust(policy.workspace, root=keys["root"])
    for name, (person, role) in PEOPLE.items():
        add_key(policy.workspace, keys[name].public, person=person, role=role, root=keys["root"])
    govern.apply(policy.path, workspace=policy.workspace)
    govern.verify(workspace=policy.workspace, key=keys["ian"])
    return Team(policy, keys)
