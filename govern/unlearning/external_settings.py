"""What a policy says of a removal that was made elsewhere. No torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from govern.unlearning.settings import Settings


class EditedModel(Settings):
    """The model as somebody else edited it."""

    source: str = Field(description="builtin:NAME, file:FOLDER (relative to the policy) or hf:OWNER/NAME.")
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        default=None, description="hf: only. The commit, 40 hex characters."
    )


class ExternalSettings(Settings):
    """No method of ours: a model that was edited elsewhere is compared with its base model, and verified."""

    method: Literal["external"] = Field(description="The removal method.")
    model: EditedModel = Field(description="The edited model; the base model is the policy's `model`.")

    seed: ClassVar[int] = 0  # nothing here is random
