"""Running a method on a model: the one place where `apply` and `reproduce` get an edit from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from govern.models.loading import empty_model
from govern.models.names import with_copies
from govern.unlearning.method import Method
from govern.unlearning.protocol import Edit, Request


def make_edit(method: Method, request: Request[Any]) -> Edit:
    """The edit that a method makes, with every copy that the checkpoint stores of a tied weight.

    Raises RemovalError where the method gives up, or where it edits two copies of one weight differently.
    """
    edit: Edit = method.edit(request)
    model = empty_model(request.model_path, trust_remote_code=request.trust_remote_code)
    return replace(edit, tensors=with_copies(request.model_path, model, edit.tensors))
