"""What a reader can type: to check the report, to watch over the removal, and to go back."""

from __future__ import annotations

import re

from govern.records import Plan
from govern.records.base import Record
from govern.reporting.facts import Line


class Command(Record):
    """A step: what it establishes and what to type."""

    purpose: Line
    command: Line


def _steps(*steps: tuple[str, str]) -> tuple[Command, ...]:
    return tuple(Command(purpose=purpose, command=command) for purpose, command in steps)


def checking(run: str) -> tuple[Command, ...]:
    """How to check the report."""
    return _steps(
        (
            "The report is unchanged since it was signed; prints the signed verdict and the signer",
            "govern report verify report.html",
        ),
        ("The audit log is unbroken up to its last event", "govern audit verify"),
        ("What the log says about this run", f"govern audit log --run {run}"),
        (
            "Everything that an outsider needs, proofs that this run is in the log included",
            f"govern evidence pack {run} pack",
        ),
        (
            "That pack, checked on a machine without the log, the workspace and the network",
            "govern evidence verify pack",
        ),
        (
            "Without govern: the digest that the signed statement must name as its subject",
            "openssl dgst -sha256 report.html",
        ),
        (
            "Without govern: the fingerprint of the signer's key, to compare with the one above",
            "openssl pkey -pubin -in signer.pub -outform DER | openssl dgst -sha256",
        ),
    )


def monitoring(run: str, plan: Plan, issued: str) -> tuple[Command, ...]:
    """How to see whether the removal still holds."""
    sampled = any((corpus.role, corpus.source) == ("perplexity", "self:") for corpus in plan.corpora)
    # The time of issue is a seed that neither the policy nor an earlier verification has used.
    seed = re.sub(r"\D", "", issued)[:14]
    anew = ("Judge it again, on held-back text that nobody has seen", f"govern verify {run} --seed {seed}")
    return _steps(
        ("Whether the removal still stands: revoked, waived, stale, and who has signed", f"govern status {run}"),
        anew if sampled else ("Judge it again, on the same questions", f"govern verify {run}"),
        ("Whether it still comes out as recorded", f"govern reproduce {run}"),
    )


def rollback(run: str, base_digest: str) -> tuple[Command, ...]:
    """How to go back to the base model."""
    return _steps(
        (
            "What the log knows of the model to go back to, other removals from it included",
            f"govern models log {base_digest[:16]}",
        ),
        (
            "Say for ever, signed, that the removal must not be relied on",
            f'govern revoke {run} --reason "…" --key KEY',
        ),
    )
