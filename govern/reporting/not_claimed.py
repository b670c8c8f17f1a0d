"""What a report does not claim: the limits of what a run shows."""

from __future__ import annotations

from govern.records import Verdict
from govern.reporting.document import RunDocument
from govern.reporting.facts import Documents, Fact

_PUBLISHED = (
    "Published work has brought removed knowledge back by fine-tuning, in some cases with text that does not "
    "contain it."
)


def not_claimed(document: RunDocument, documents: Documents | None = None) -> tuple[Fact, ...]:
    """The limits of what the run shows. General ones hold for every removal; the others follow from the records."""
    documents = documents or document.documents()
    plan, removal, verdict, sweep = document.plan, document.removal, document.verdict, document.sweep
    unlicensed = any(corpus.licence is None for corpus in plan.corpora)
    claims = (
        (
            True,
            "/verdict/gates",
            "Absence is not proven",
            "The gates measure answers to the question sets listed here. Knowledge can survive in other wordings, "
            "languages or uses that no question set asks about, and it can remain in the weights where no question "
            "reaches it.",
        ),
        (True, *_attacks(verdict)),
        (
            True,
            "/verdict/edited_model_digest",
            "Only this model",
            f"The verdict holds for the edited model with this digest, evaluated in {verdict.dtype}. Quantised, "
            "merged or further trained versions are different models.",
        ),
        (
            True,
            "/verdict/results",
            "Usefulness is sampled",
            "Utility gates look at some abilities. Others may have suffered without being measured.",
        ),
        (
            True,
            "/report/signer/fingerprint",
            "A signature is not the truth",
            "It shows which key issued this report and that no byte has changed since. Whether the run was honest is "
            "for those to judge who can repeat it from the plan.",
        ),
        (
            verdict.verdict == "inconclusive",
            "/verdict/verdict",
            "No decision",
            "An inconclusive gate says neither that the knowledge is gone nor that it is still there.",
        ),
        (
            verdict.attempt > 1,
            "/verdict/attempt",
            "A repeated attempt",
            f"This is certification attempt {verdict.attempt} on these question sets. Each further attempt on the "
            "same questions makes a pass by chance more likely than the confidence suggests.",
        ),
        (
            document.report.signer.throwaway,
            "/report/signer/throwaway",
            "No identity",
            "The signing key was made for this run alone. It shows that the files belong together, not who made them.",
        ),
        (
            sweep and plan.sweep and sweep.points[plan.sweep.point].delta_sha256 != removal.delta_sha256,
            "/removal/delta_sha256",
            "Not the very edit that the sweep scored",
            "The settings are those that the sweep chose; the delta differs from the one that it scored, as it "
            "does on another machine. What the gates say was measured on this one.",
        ),
        (
            plan.edited,
            "/plan/edited",
            "Made elsewhere",
            "The removal was made by somebody else. How, on what text and with which settings is not known here: "
            "held-back text of this policy may have been its training text, and to reproduce it means to read the "
            "two models again. What was verified is the base model with the tensors in which the two differ.",
        ),
        (
            any(overlap.warn for overlap in plan.overlap),
            "/plan/overlap",
            "Entangled text",
            "Forget and retain text share much of their vocabulary. In that situation removal is known to be "
            "harder, and its effect on neighbouring knowledge larger.",
        ),
        (
            unlicensed or plan.model.licence is None,
            "/plan/corpora" if unlicensed else "/plan/model/licence",
            "Licences",
            "For a source marked “not recorded” no licence was found, and none is implied.",
        ),
        (
            plan.environment.dirty,
            "/plan/environment/dirty",
            "Uncommitted code",
            "The code was run with changes that its commit does not contain, so the commit alone does not reproduce "
            "this run.",
        ),
    )
    return tuple(_claim(documents, pointer, label, text) for holds, pointer, label, text in claims if holds)


def _claim(documents: Documents, pointer: str, label: str, text: str) -> Fact:
    return documents.fact(pointer, label, lambda _: text, kind="prose")


def _attacks(verdict: Verdict) -> tuple[str, str, str]:
    if verdict.stress:
        return (
            "/verdict/stress",
            "Other attacks may succeed",
            "Only the attacks listed under robustness were tried, with the effort stated there. More training, other "
            f"prompts or other attacks may bring more back. {_PUBLISHED}",
        )
    stopped = verdict.sequential is not None and verdict.sequential.stopped
    return (
        "/verdict/sequential" if stopped else "/removal/method",
        "No attack was tried",
        f"{'A gate failed before any attack was due' if stopped else 'No stress test was part of this policy'}. "
        "Relearning from a few documents, adversarial prompts, quantisation "
        f"and merging were not tried against this removal. {_PUBLISHED}",
    )
