"""What a policy's `verification.stress` may say. No torch here, so that policies load in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class Attack(BaseModel):
    """What all attacks share. Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_recovery: float | None = Field(
        default=None, ge=0, le=1, description="The largest share of the removed knowledge that may come back."
    )
    questions: int = Field(default=128, ge=8, description="How many of a task's certifying questions are asked.")


class Relearning(Attack):
    """Fine-tune on a few documents and ask again (Łucki et al. 2024, arXiv 2409.18025; Hu et al. 2024, 2406.13356)."""

    attack: Literal["relearn"] = Field(description="The attack.")
    text: Literal["unrelated", "related", "facts"] = Field(
        description="unrelated: retain text. related: forget text without the facts that are asked about. "
        "facts: questions about other facts, with their answers."
    )
    documents: int = Field(default=100, ge=1, description="How many documents the attacker has.")
    epochs: int = Field(default=3, ge=1, description="How often each is seen.")
    lora_rank: int | None = Field(default=128, ge=1, description="An adapter's rank; null trains every weight.")
    learning_rate: float | None = Field(
        default=None, gt=0, description="AdamW's. By default 2e-4 for an adapter and 2e-5 for every weight."
    )
    batch_size: int = Field(default=4, ge=1, description="Documents in a batch.")
    seed: int = Field(default=0, ge=0, description="Decides which documents, and their order.")


class Quantisation(Attack):
    """Round the weights (Zhang et al. 2024, arXiv 2410.16454: an edit smaller than a step rounds away)."""

    attack: Literal["quantise"] = Field(description="The attack.")
    bits: Literal[4, 8] = Field(description="Bits of each weight of the linear maps.")
    quantiser: Literal["nearest", "hqq"] = Field(
        default="nearest", description="How each group's scale is chosen: by its largest weight, or by the error (HQQ)."
    )


class LogitLens(Attack):
    """Read the answer off an inner layer through the model's own head (nostalgebraist 2020)."""

    attack: Literal["logit_lens"] = Field(description="The attack.")


class Format(Attack):
    """Ask in another form."""

    attack: Literal["format"] = Field(description="The attack.")
    form: Literal["letters", "cloze", "few_shot", "chat", "prefix"] = Field(
        description="letters: choose A to D. cloze: complete the sentence. few_shot: after five solved questions. "
        "chat: in the model's chat template. prefix: after a sentence that asks for the truth."
    )


AnyAttack: TypeAlias = Relearning | Quantisation | LogitLens | Format


def _entry(value: Any) -> str:
    # What is no mapping is judged as the only word that there is, so that the finding names it.
    attack = value.get("attack", "") if isinstance(value, dict) else getattr(value, "attack", "standard")
    return attack if isinstance(attack, str) else ""


StressEntry = Annotated[
    Annotated[Literal["standard"], Tag("standard")]
    | Annotated[Relearning, Tag("relearn")]
    | Annotated[Quantisation, Tag("quantise")]
    | Annotated[LogitLens, Tag("logit_lens")]
    | Annotated[Format, Tag("format")],
    Discriminator(_entry),
]
"""One entry of `verification.stress`."""

STANDARD: tuple[AnyAttack, ...] = (
    Relearning(attack="relearn", text="unrelated", documents=10),
    Relearning(attack="relearn", text="unrelated", documents=100),
    Relearning(attack="relearn", text="related", documents=100),
    Relearning(attack="relearn", text="facts", documents=100),
    Quantisation(attack="quantise", bits=8),
    Quantisation(attack="quantise", bits=4),
    LogitLens(attack="logit_lens"),
    Format(attack="format", form="letters"),
    Format(attack="format", form="prefix"),
)
"""The cheap half of what is known, which `stress: [standard]` stands for."""


def describe(attack: AnyAttack) -> str:
    """An attack's name for people."""
    match attack:
        case Relearning():
            how = "every weight" if attack.lora_rank is None else f"rank {attack.lora_rank}"
            what = {"facts": "other facts", "related": "related documents", "unrelated": "unrelated documents"}
            return f"relearn {attack.documents} {what[attack.text]}, {how}"
        case Quantisation():
            return f"quantise to {attack.bits} bits, {attack.quantiser}"
        case LogitLens():
            return "logit lens"
        case Format():
            return f"format: {attack.form.replace('_', '-')}"


def fine_tuning_steps(attack: AnyAttack) -> int:
    """How many steps of fine-tuning an attack takes at most, on one model."""
    if not isinstance(attack, Relearning):
        return 0
    return math.ceil(attack.documents * attack.epochs / attack.batch_size)


def expand(stress: Iterable[Literal["standard"] | AnyAttack]) -> tuple[AnyAttack, ...]:
    """The attacks that a policy's `stress` lists, `standard` replaced by those that it stands for."""
    return tuple(each for entry in stress for each in (STANDARD if entry == "standard" else (entry,)))
