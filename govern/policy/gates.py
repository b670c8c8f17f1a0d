"""How a removal is judged: the gates, the questions that choose settings, the attacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag

from govern.evaluation.official import WIKITEXT
from govern.gates.registry import Threshold
from govern.policy.inputs import TextFields
from govern.policy.part import Metric, Part, Problem, Share, SourceText, Word
from govern.records import GateKind
from govern.sources import parse_source
from govern.stress.registry import StressEntry
from govern.stress.relearning import Relearning


class Selection(Part):
    """Which questions choose settings."""

    share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.3, description="The share of questions that chooses settings and never certifies."
    )
    attack: Relearning | None = Field(
        default=None,
        exclude_if=lambda attack: attack is None,
        description="What every point of a sweep is put to as well; of the points that qualify, the one is chosen that "
        "withstands it best.",
    )

    def problems(self) -> Iterator[Problem]:
        """A limit that would decide nothing."""
        if self.attack is not None and self.attack.max_recovery is not None:
            yield Problem(
                ("attack", "max_recovery"),
                "a sweep compares points under its attack and holds none against a limit",
                "Remove it, or list the attack under `stress` as well.",
            )


class ForgetGate(Part):
    """A ceiling: what the edited model may still know."""

    task: Word = Field(
        description="An own task or an official one (wmdp_bio, wmdp_chem, wmdp_cyber, mmlu, mmlu_SUBJECT, or "
        "mmlu_continuation, mmlu_SUBJECT_continuation: without letters)."
    )
    ceiling: Share = Field(description="The accuracy that the upper confidence bound must not exceed.")
    metric: Metric = Field(default="acc", description="acc, or acc_norm for cloze tasks.")


class TaskGate(Part):
    """A floor or a largest drop: what the edited model must still know."""

    task: Word = Field(
        description="An own task or an official one (wmdp_bio, wmdp_chem, wmdp_cyber, mmlu, mmlu_SUBJECT, or "
        "mmlu_continuation, mmlu_SUBJECT_continuation: without letters)."
    )
    metric: Metric = Field(default="acc", description="acc, or acc_norm for cloze tasks.")
    floor: Share | None = Field(default=None, description="The accuracy that the lower confidence bound must reach.")
    max_drop: Share | None = Field(
        default=None, description="The largest drop in accuracy that the upper confidence bound may show."
    )

    def problems(self) -> Iterator[Problem]:
        """A gate without a threshold decides nothing."""
        if self.floor is None and self.max_drop is None:
            yield Problem((), "expected `floor`, `max_drop` or both", "A gate without a threshold decides nothing.")


class PerplexityGate(TextFields):
    """The largest relative increase of perplexity on text that was not trained on."""

    perplexity: SourceText = Field(description="The text: file:PATH, hf:OWNER/NAME or self:.")
    max_increase: float = Field(ge=0, description="The largest relative increase, such as 0.02 for 2 per cent.")
    documents: int = Field(default=64, ge=2, description="The first N documents; for self: the number sampled.")
    max_tokens: int = Field(default=64, ge=2, description="Tokens at which a document is cut.")

    def problems(self) -> Iterator[Problem]:
        """Text comes from files, the hub or the model, each with its own fields."""
        if parse_source(self.perplexity).scheme == "builtin":
            yield Problem(("perplexity",), "builtin: is a model, not text", "Expected file:, hf: or self:.")
        else:
            yield from self.misplaced(self.perplexity)


class WikitextGate(Part):
    """The largest relative increase of perplexity per word on WikiText-2's test articles, lm-eval's task `wikitext`."""

    task: Literal["wikitext"] = Field(description="lm-eval's task of that name.")
    max_increase: float = Field(ge=0, description="The largest relative increase, such as 0.02 for 2 per cent.")


def _kind_of_gate(value: Any) -> str:
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "perplexity" in given:
        return "perplexity gate"
    return "wikitext gate" if given.get("task") == WIKITEXT else "task gate"


UtilityGate = Annotated[
    Annotated[TaskGate, Tag("task gate")]
    | Annotated[PerplexityGate, Tag("perplexity gate")]
    | Annotated[WikitextGate, Tag("wikitext gate")],
    Discriminator(_kind_of_gate),
]


class VerificationPlan(Part):
    """How the removal is judged. Every gate must pass."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="The confidence of every one-sided bound."
    )
    selection: Selection = Field(default=Selection(), description="Which questions choose settings.")
    dtype: Literal["bfloat16", "float32"] = Field(
        default="float32",
        exclude_if=lambda dtype: dtype == "float32",  # as for `valid_days`
        description="What the models compute in while they answer. Attacks train, and do so in float32.",
    )
    valid_days: int | None = Field(
        default=None,
        ge=1,
        le=36500,
        # Left out of the policy's digest where it is absent: a policy without it means what it meant before.
        exclude_if=lambda days: days is None,
        description="Days after which a verification is stale and has to be repeated. Without it, it never is.",
    )
    forget: tuple[ForgetGate, ...] = Field(min_length=1, description="Ceilings on what has to go.")
    utility: tuple[UtilityGate, ...] = Field(
        default=(), description="Floors, drops and perplexities of what must stay."
    )
    stress: tuple[StressEntry, ...] = Field(
        default=(), description="Attacks on the removal; standard stands for the cheap ones that are known."
    )

    def thresholds(self) -> Iterator[Threshold]:
        """Every threshold of every gate, in the policy's order."""
        for group in ("forget", "utility"):
            for index, gate in enumerate(getattr(self, group)):
                held_back = isinstance(gate, PerplexityGate)
                task = gate.perplexity if isinstance(gate, PerplexityGate) else gate.task
                metric = gate.metric if isinstance(gate, ForgetGate | TaskGate) else "perplexity"
                for kind in get_args(GateKind):
                    if (value := getattr(gate, kind, None)) is not None:
                        yield Threshold(kind, value, task, metric, held_back, (group, index))
