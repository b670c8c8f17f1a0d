"""Ablation: where a removal only adds one direction to what a block says, taking it out again undoes the removal.

For refusals: Arditi et al. 2024 (arXiv 2406.11717), one direction in all blocks. For unlearning: Łucki et al. 2024
(arXiv 2409.18025, §4), a direction of its own for each block, the difference of mean outputs; ours is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from govern.corpora import TokenCorpus
from govern.errors import GovernError
from govern.progress import Progress
from govern.stress.attack import WHERE, Attempt, Target
from govern.stress.blocks import Inside, at_blocks
from govern.stress.exam import Exam
from govern.stress.weights import matrices

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# Maps into the residual stream by their usual names, for those that are square, as maps out of it may be as well.
_INTO_STREAM = re.compile(r"\.(?:o_proj|out_proj|c_proj|dense|down_proj|fc2|fc_out|output_linear|w2)(?:\.weight)?$")
_IN_BLOCK = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")


class Ablation(Inside):
    """Project the removal's direction out of every block from the first edited one on.

    Arditi et al. 2024 (arXiv 2406.11717) for refusals; Łucki et al. 2024 (2409.18025) for unlearning.
    """

    title = "ablate the removal's direction"
    untold = frozenset({"documents"})
    knows_the_removal = True

    attack: Literal["ablate"] = Field(description="The attack.")
    direction: Literal["difference", "delta"] = Field(
        default="difference",
        description="difference: for each block, the mean difference of its output between the edited and the base "
        "model on forget text. delta: the direction in which the changed weights write most (first singular vector).",
    )
    documents: int = Field(default=32, ge=1, description="Documents of forget text for the difference.")

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Ask while every block from the first edited one on has the removal's direction taken out of its output.

        Raises GovernError where the removal changed no block.
        """
        from govern.models import apply_delta

        first = first_edited_block(target.delta)
        model = target.base()
        if self.direction == "difference":
            forget = TokenCorpus(target.related.documents[: self.documents])
            before = mean_outputs(model, forget)
            apply_delta(model, target.delta)
            directions = mean_outputs(model, forget) - before
        else:
            written = direction_of_delta(model, target.delta)
            directions = written.expand(model.config.get_text_config(decoder=True).num_hidden_layers, -1)
        del model
        unit = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)

        def project(index: int, hidden: Tensor) -> Tensor | None:
            if index < first:
                return None
            away = unit[index].to(hidden)
            projected: Tensor = hidden - (hidden @ away)[..., None] * away
            return projected

        attacked = target.load()
        with at_blocks(attacked, project):
            answers = exam.ask(attacked, target.tokenizer, progress=progress)
        found: dict[str, JsonValue] = {"first_block": first}
        if self.direction == "difference":
            found["shift_by_block"] = [round(float(norm), 4) for norm in directions.norm(dim=1)]
        return Attempt(answers=answers, found=found)


def first_edited_block(delta: Mapping[str, Tensor]) -> int:
    """The first block that a delta changes. Raises GovernError where it changes none."""
    blocks = [int(found[1]) for name in delta if (found := _IN_BLOCK.search(name))]
    if not blocks:
        raise GovernError(
            "the removal changed no block, so it has no direction to ablate",
            where=WHERE,
            hint="Leave out `attack: ablate`.",
        )
    return min(blocks)


def mean_outputs(model: PreTrainedModel, corpus: TokenCorpus) -> Tensor:
    """The mean output of each block [blocks, d] over all tokens but the first of each document."""
    import torch

    sums: dict[int, Tensor] = {}
    tokens = 0

    def add(index: int, hidden: Tensor) -> None:
        total = hidden[0, 1:].double().sum(dim=0)
        sums[index] = sums[index] + total if index in sums else total

    with torch.inference_mode(), at_blocks(model, add):
        for document in corpus.documents:
            model.get_decoder()(torch.tensor([document], device=model.device), use_cache=False)
            tokens += len(document) - 1
    return torch.stack([sums[index] for index in sorted(sums)]).float() / max(tokens, 1)


def direction_of_delta(base: PreTrainedModel, delta: Mapping[str, Tensor]) -> Tensor:
    """The direction [d] in which the changed maps into the residual stream write most, as one matrix side by side.

    Raises GovernError where none of the changed weights is such a map.
    """
    import torch

    width = base.config.get_text_config(decoder=True).hidden_size
    written = []
    for name, matrix in matrices(base).items():
        if name not in delta:
            continue
        before = matrix.outputs
        narrows = before.shape[0] == width and before.shape[1] != width
        if narrows or (before.shape[0] == width and _INTO_STREAM.search(name)):
            written.append(replace(matrix, parameter=delta[name]).outputs.float().cpu() - before.float().cpu())
    if not written:
        raise GovernError(
            "the removal changed no map into the residual stream, so its delta has no direction there",
            where=WHERE,
            hint="Use `direction: difference`.",
        )
    side_by_side = torch.cat(written, dim=1)
    # The first left singular vector, by the small Gram matrix.
    direction: Tensor = torch.linalg.eigh(side_by_side @ side_by_side.T).eigenvectors[:, -1]
    return direction
