"""RMU's and Adaptive RMU's settings. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from govern.unlearning.settings import Descending, Positive, Sweep


class RmuSettings(Descending):
    """Representation Misdirection for Unlearning (Li et al., 2024)."""

    method: Literal["rmu"] = Field(description="The removal method.")
    coefficient: Positive | Sweep = Field(description="c: how far h is steered. 7.5 in the paper, 6.5 in public code.")


class AdaptiveRmuSettings(Descending):
    """Adaptive RMU (Dang et al., 2025)."""

    method: Literal["adaptive_rmu"] = Field(description="The removal method.")
    scale: Positive | Sweep = Field(default=5.0, description="s: c is s times the mean norm of h on forget text.")
