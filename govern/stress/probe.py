"""A linear probe at every layer: what the model holds true inside may be there still, whatever it says.

A probe learns on the facts that are not asked about how a layer's output at the end of "question, choice" differs
between true and wrong completions, and is then asked about the others. It cannot learn the asked facts, as it never
sees them: where it answers them, the model still tells true from wrong. Its limit is the other side of that: it may
learn a habit of the question set (the longer choice is right), which the base model's own probe, the control, shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from govern.evaluation.questions import Question
from govern.progress import Progress
from govern.stress.attack import Attempt, Target
from govern.stress.blocks import Inside, at_blocks
from govern.stress.exam import Exam, fact_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Features: TypeAlias = list[np.ndarray[Any, np.dtype[np.float32]]]  # for each question, [choices, layers, d]

_FOLDS = 4


class LinearProbe(Inside):
    """Learn on the other facts how a layer tells a true completion from a wrong one (Alain & Bengio 2016, 1610.01644).

    A logistic regression for each layer; the layer is chosen by cross-validation over the other facts.
    """

    title = "linear probe"
    asks_others = True

    attack: Literal["linear_probe"] = Field(description="The attack.")

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Answer by the probe of the layer that does best on held-back other facts, and so not on those asked."""
        model = target.load()
        others, asked = (features(model, target.tokenizer, each, progress) for each in (exam.others, exam.asked))
        layers = range(others[0].shape[1])
        fold_of = folds(exam.others)
        right = []
        for layer in layers:
            chosen = [0] * len(others)
            for fold in sorted(set(fold_of)):
                held_back = [index for index, other in enumerate(fold_of) if other == fold]
                known = [index for index, other in enumerate(fold_of) if other != fold]
                probe = fit([others[i][:, layer] for i in known], [exam.others[i].answer for i in known])
                for index in held_back:
                    chosen[index] = int(probe.decision_function(others[index][:, layer]).argmax())
            right.append(sum(choice == each.answer for choice, each in zip(chosen, exam.others, strict=True)))
            progress("probe the layers", layer + 1, len(layers))
        best = max(layers, key=right.__getitem__)
        probe = fit([each[:, best] for each in others], [question.answer for question in exam.others])
        answers = exam.answered([int(probe.decision_function(each[:, best]).argmax()) for each in asked])
        return Attempt(
            answers=answers,
            found={"layer": best, "others_right_by_layer": [round(count / len(others), 4) for count in right]},
        )


def folds(questions: Sequence[Question]) -> list[int]:
    """The fold of each question; questions about one fact share one."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(fact_of(question), len(numbers)) % _FOLDS for question in questions]


def fit(features: Sequence[np.ndarray[Any, Any]], answers: Sequence[int]) -> Any:
    """A logistic regression from features [choices, d] of several questions to whether a choice is the right one."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = [choice == answer for each, answer in zip(features, answers, strict=True) for choice in range(len(each))]
    # A strong ridge: there are fewer questions than dimensions.
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=200))
    return probe.fit(np.concatenate(list(features)), labels)


def features(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], progress: Progress
) -> Features:
    """Every block's output at the last token of each completion, less its mean over a question's choices.

    Without that mean the probe would spend itself on what the question is about, which all its choices share.
    """
    import torch

    from govern.evaluation.harness import prompts_of
    from govern.evaluation.scoring import padded

    found: Features = []
    for done, pairs in enumerate(prompts_of(model, tokenizer, "cloze", questions), start=1):
        rows = [[*context, *choice] for context, choice in pairs]
        ends = torch.tensor([len(row) - 1 for row in rows], device=model.device)
        layers: list[torch.Tensor] = []

        def keep(
            _index: int, hidden: torch.Tensor, ends: torch.Tensor = ends, layers: list[torch.Tensor] = layers
        ) -> None:
            layers.append(hidden[torch.arange(len(ends), device=hidden.device), ends].float().cpu())

        with torch.inference_mode(), at_blocks(model, keep):
            model.get_decoder()(padded(rows).to(model.device), use_cache=False)
        stacked = torch.stack(layers, dim=1)
        found.append((stacked - stacked.mean(dim=0)).numpy())
        progress("read the layers", done, len(questions))
    return found
