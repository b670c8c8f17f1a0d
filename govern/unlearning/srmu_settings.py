"""SRMU's settings: what a policy's `removal` may say, with either solver. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from govern.unlearning.settings import Descent, Positive, Relative, Settings, Steering, Sweep

ImportanceMap = Literal["ratio", "difference", "product", "uniform"]
Direction = Literal["rademacher", "ones", "minus_ones", "uniform01", "zero"]


class SrmuTarget(Settings):
    """The target T = c · V̂ ⊙ I_norm (the paper's eqs. 2 to 4) and the ablations of Table 4."""

    method: Literal["srmu"] = Field(description="The removal method.")
    importance: ImportanceMap = Field(
        default="ratio", description="The map I of how much each feature speaks of the forget text."
    )
    difference_weight: float = Field(default=1.0, ge=0, description="λ of the difference map (unpublished).")
    statistic: Literal["mean_abs", "rms"] = Field(
        default="mean_abs", description="What is averaged over tokens: |h|, or h² under a root."
    )
    direction: Direction = Field(default="rademacher", description="V: random signs, or an ablation.")
    direction_scale: Literal["unit", "raw"] = Field(
        default="unit", description="unit divides V by its norm, so that c has the scale of RMU's; raw does not."
    )
    coefficient: Positive | Relative | Sweep = Field(description="c: how far h is steered.")


class SrmuSettings(SrmuTarget, Steering, Descent):
    """Selective Representation Misdirection for Unlearning (Algorithm 1) by AdamW."""

    solver: Literal["gradient"] = Field(default="gradient", description="How the objective is minimised.")
    refresh_every: int = Field(
        default=0,
        ge=0,
        description="0 computes the map once (Algorithm 1), N again every N batches of a topic (eq. 4).",
    )


class SrmuClosedFormSettings(SrmuTarget, Steering):
    """SRMU's objective minimised exactly, one linear solve a block: no learning rate and no steps."""

    solver: Literal["closed_form"] = Field(description="How the objective is minimised.")
    ridge: float = Field(
        default=1e-4, ge=0, description="ρ: how much a change costs in itself, against the mean square of its input."
    )


def _solver(value: Any) -> str:
    # Whatever is no solver's name is judged as the default's, so that the finding is at `solver` and names them all.
    solver = value.get("solver") if isinstance(value, dict) else getattr(value, "solver", None)
    return "closed_form" if solver == "closed_form" else "gradient"


AnySrmuSettings = Annotated[
    Annotated[SrmuSettings, Tag("gradient")] | Annotated[SrmuClosedFormSettings, Tag("closed_form")],
    Discriminator(_solver),
]
