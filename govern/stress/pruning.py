"""Pruning: an edit made of small weights may go with them, and the knowledge come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.progress import Progress
from govern.stress.attack import WHERE, AttackRefusal, Attempt, Conditions, Target
from govern.stress.exam import Exam
from govern.stress.weights import Matrix, Tampering, coverage, matrices, shortfall

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_CALIBRATION = 32  # documents


class Pruning(Tampering):
    """Set the least important weights of each row to zero."""

    title = "prune {sparsity:.0%} by {criterion}"
    knows_the_removal = True

    attack: Literal["prune"] = Field(description="The attack.")
    sparsity: float = Field(gt=0, lt=1, description="The share of each row's weights that goes.")
    criterion: Literal["magnitude", "wanda"] = Field(
        default="magnitude",
        description="magnitude: |w|. wanda: |w| times the norm of its input on retain text (arXiv 2306.11695).",
    )
    weights: Literal["all", "changed"] = Field(
        default="all", description="Every linear map but the head, or only those that the removal changed."
    )

    def reaches(self, matrix: Matrix) -> bool:
        """Whether it changes a matrix: what goes into each expert is not seen, so Wanda leaves experts as they are."""
        return matrix.is_map if self.criterion == "wanda" else matrix.reachable

    def refusals(self, conditions: Conditions) -> Iterator[AttackRefusal]:
        """As for all weights; what a removal will change is not known before it is made."""
        return super().refusals(conditions) if self.weights == "all" else iter(())

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Set the least important weights of each row to zero, and ask.

        Raises GovernError where only changed maps are to be pruned and the removal changed none.
        """
        model = target.load()
        found = {name: each for name, each in matrices(model).items() if self.weights == "all" or name in target.delta}
        reached = {name: each for name, each in found.items() if self.reaches(each)}
        if not reached:
            raise GovernError(
                "the removal changed no linear map, so there are no changed weights to prune",
                where=WHERE,
                hint="Use `weights: all`.",
            )
        norms = input_norms(model, reached, target.unrelated) if self.criterion == "wanda" else {}
        for name, each in reached.items():
            rows = each.rows
            importance = rows.abs()
            if name in norms:
                importance = importance * norms[name].to(importance)
            gone = importance.argsort(dim=1, stable=True)[:, : int(rows.shape[1] * self.sparsity)]
            each.write(rows.scatter_(1, gone, 0.0))
        share = coverage(found, reached)
        answers = exam.ask(model, target.tokenizer, progress=progress)
        return Attempt(answers=answers, found={"coverage": share}, doubt=shortfall(share))


def input_norms(model: PreTrainedModel, maps: Mapping[str, Matrix], corpus: TokenCorpus) -> dict[str, Tensor]:
    """The Euclidean norm of each input of each map over a text's tokens (Sun et al. 2023, arXiv 2306.11695, §3)."""
    import torch

    squares: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def add(_module: Any, args: tuple[Tensor, ...]) -> None:
            total = args[0].flatten(0, -2).float().square().sum(dim=0)
            squares[name] = squares[name] + total if name in squares else total

        return add

    hooks = [each.module.register_forward_pre_hook(watch(name)) for name, each in maps.items()]
    try:
        with torch.inference_mode():
            for document in corpus.documents[:_CALIBRATION]:
                model.get_decoder()(torch.tensor([document], device=model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total.sqrt() for name, total in squares.items()}
