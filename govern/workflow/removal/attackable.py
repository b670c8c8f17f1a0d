"""Whether a policy's attacks can be made at all: `plan` says so, with the place in the file, and not `verify` later."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from govern.errors import PolicyError
from govern.evaluation.questions import OwnTask, questions_of
from govern.policy import LoadedPolicy
from govern.stress.exam import FEWEST_FACTS, facts_of
from govern.stress.settings import Endurance, Format

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def refuse_impossible_attacks(
    loaded: LoadedPolicy, tasks: Iterable[OwnTask | str], tokenizer: PreTrainedTokenizerBase, *, retained: int
) -> None:
    """Raise PolicyError where there are too few facts or documents for an attack, or a chat has no template.

    `tasks` are the policy's question sets; official ones are large enough for every attack. `retained` is the number of
    documents to retain.
    """
    verification = loaded.policy.verification
    if not verification.stress:
        return
    own = {task.name: task for task in tasks if isinstance(task, OwnTask)}
    for index, gate in enumerate(verification.forget):
        if gate.task not in own:
            continue
        facts = len(facts_of(questions_of(own[gate.task], "certification", share=verification.selection.share)))
        if facts < FEWEST_FACTS:
            raise PolicyError(
                f"task {gate.task} has {facts} certifying facts, too few to attack one half and to ask about the other",
                where=loaded.where("verification", "forget", index, "task"),
                hint=f"Give it certifying questions about at least {FEWEST_FACTS} facts, or leave out `stress`.",
            )
    for index, entry in enumerate(verification.stress):
        if isinstance(entry, Format) and entry.form == "chat" and not tokenizer.chat_template:
            raise PolicyError(
                "the model has no chat template to ask in",
                where=loaded.where("verification", "stress", index, "form"),
                hint="Leave out `form: chat`.",
            )
        if isinstance(entry, Endurance) and entry.stages[-1] > retained:
            raise PolicyError(
                f"the last stage needs {entry.stages[-1]} documents, and the retain text has {retained}",
                where=loaded.where("verification", "stress", index, "stages"),
                hint="Name shorter `stages`, or add retain text.",
            )
