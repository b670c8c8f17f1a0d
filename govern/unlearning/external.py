"""`external`: a removal that somebody else made, read back as the tensors in which the two models differ."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from govern.errors import UsageError
from govern.unlearning.method import Method
from govern.unlearning.protocol import Edit, RemovalRequest
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


def external(request: RemovalRequest[ExternalSettings]) -> Edit:
    """Compare the base model with `request.edited`; how the edit was made, nobody here knows.

    Raises UsageError where nothing differs, IntegrityError where the edited tensors are not finite.
    """
    from govern.models.edited import changed_tensors

    if request.edited is None:
        raise UsageError("an external removal needs the edited model")
    tensors = changed_tensors(request.model_path, request.edited, progress=request.progress)
    return Edit(
        tensors=tensors,
        curve=(),
        figures={"weights in changed tensors": float(sum(tensor.numel() for tensor in tensors.values()))},
    )


METHOD = Method("external", "weight", (ExternalSettings,), run=external)
