"""Whether a policy's attacks can be made at all: `plan` says so, with the place in the file, and not `verify` later."""

from __future__ import annotations

from collections.abc import Iterable

from govern.errors import PolicyError
from govern.evaluation.questions import OwnTask, questions_of
from govern.policy import LoadedPolicy
from govern.stress.attack import Conditions
from govern.stress.exam import FEWEST_FACTS, facts_of
from govern.stress.registry import expand


def refuse_impossible_attacks(loaded: LoadedPolicy, tasks: Iterable[OwnTask | str], conditions: Conditions) -> None:
    """Raise PolicyError where there are too few facts to ask about, or an attack refuses the conditions.

    `tasks` are the policy's question sets; official ones are large enough for every attack.
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
        for attack in expand([entry]):
            for refusal in attack.refusals(conditions):
                setting = () if entry == "standard" else (refusal.setting,)
                where = loaded.where("verification", "stress", index, *setting)
                raise PolicyError(f"{attack.describe()}: {refusal.message}", where=where, hint=refusal.hint)
