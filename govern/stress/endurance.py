"""Endurance: people fine-tune a model for purposes of their own, and the removal has to outlast that."""

from __future__ import annotations

import math
from itertools import pairwise

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.progress import Progress
from govern.stress.exam import Exam
from govern.stress.protocol import Attempt, Target
from govern.stress.relearning import learning_rate, shuffled
from govern.stress.settings import Endurance
from govern.training import FineTuning, fine_tune


def endure(settings: Endurance, target: Target, exam: Exam, progress: Progress) -> Attempt:
    """Fine-tune on unrelated text stage by stage, ask after each, and keep the answers that were right most often.

    Only a removal that outlasts every stage passes, so no correction for several looks is due: the best of them
    decides against it. Raises GovernError where there is less text than the stages ask for.
    """
    documents = shuffled(target.unrelated.documents, settings.seed)
    if len(documents) < settings.stages[-1]:
        raise GovernError(
            f"the retain text has {len(documents)} documents and the last stage needs {settings.stages[-1]}",
            where="verification.stress",
            hint="Ask for shorter `stages`, or add retain text.",
        )
    model = target.load()
    stages = []
    for number, (before, after) in enumerate(pairwise((0, *settings.stages))):
        training = FineTuning(
            steps=math.ceil((after - before) * settings.epochs / settings.batch_size),
            learning_rate=learning_rate(settings),
            batch_size=settings.batch_size,
            lora_rank=settings.lora_rank,
            seed=settings.seed + number,
        )
        fine_tune(model, TokenCorpus(documents[before:after]), training, progress=progress)
        stages.append(exam.ask(model, target.tokenizer, progress=progress))
    right = [answers.accuracy for answers in stages]
    return Attempt(
        answers=max(stages, key=lambda answers: answers.accuracy),
        found={"documents": list(settings.stages), "right_after": [round(share, 4) for share in right]},
    )
