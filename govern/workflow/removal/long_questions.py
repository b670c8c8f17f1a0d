"""What a plan says of questions that are longer than the model's context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from govern.errors import PolicyError, UsageError
from govern.evaluation.length import context_length, refuse_cut, too_long
from govern.evaluation.questions import OwnTask, load_questions
from govern.policy import LoadedPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedTokenizerBase


def long_questions(
    loaded: LoadedPolicy,
    tasks: Iterable[OwnTask | str],
    model_path: Path,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[str, ...]:
    """A warning for each own set some of whose questions would lose their beginning.

    Raises PolicyError, with the set's place in the file, where too many would.
    """
    from transformers import AutoConfig

    trust = loaded.policy.model.trust_remote_code
    context = context_length(AutoConfig.from_pretrained(model_path, trust_remote_code=trust), tokenizer)
    places = {task.name: index for index, task in enumerate(loaded.policy.tasks)}
    warnings = []
    for task in tasks:
        if isinstance(task, str):
            continue  # official questions are counted when they are asked
        questions = load_questions(task)
        if cut := too_long(questions, task.kind, tokenizer, context=context):
            try:
                refuse_cut(task.name, cut, len(questions))
            except UsageError as error:
                where = loaded.where("tasks", places[task.name], "file")
                raise PolicyError(error.message, where=where, hint=error.hint) from None
            warnings.append(
                f"{cut} of the {len(questions)} questions of {task.name} are longer than the model's context of "
                f"{context} tokens and lose their beginning"
            )
    return tuple(warnings)
