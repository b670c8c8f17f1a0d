"""`external`: a removal that somebody else made, read back as the tensors in which the two models differ."""

from __future__ import annotations

from govern.errors import UsageError
from govern.models.edited import changed_tensors
from govern.unlearning.external_settings import ExternalSettings
from govern.unlearning.protocol import Edit, Request


def external(request: Request[ExternalSettings]) -> Edit:
    """Compare the base model with `request.edited`; how the edit was made, nobody here knows.

    Raises UsageError where nothing differs, IntegrityError where the edited tensors are not finite.
    """
    if request.edited is None:
        raise UsageError("an external removal needs the edited model")
    tensors = changed_tensors(request.model_path, request.edited, progress=request.progress)
    return Edit(
        tensors=tensors,
        curve=(),
        figures={"weights in changed tensors": float(sum(tensor.numel() for tensor in tensors.values()))},
    )
