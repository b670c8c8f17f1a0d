"""The logit lens: an inner layer may still know what the last one no longer says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern.evaluation.questions import Question
from govern.progress import Progress
from govern.stress.attack import Attempt, Target
from govern.stress.blocks import Inside
from govern.stress.exam import Exam, Kind

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from govern.evaluation.scoring import Ids

_QUESTIONS_PER_BATCH = 8


class LogitLens(Inside):
    """Read the answer off an inner layer through the model's own head (nostalgebraist 2020)."""

    title = "logit lens"
    standard = ({},)
    asks_others = True
    takes_streams = True

    attack: Literal["logit_lens"] = Field(description="The attack.")

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Answer by the layer that answers the other half of the facts best, and so was not chosen by those asked."""
        model = target.load()
        others = read_layers(model, target.tokenizer, exam.kind, exam.others, progress)
        right = [
            sum(choice == each.answer for choice, each in zip(chosen, exam.others, strict=True)) for chosen in others
        ]
        best = max(range(len(right)), key=right.__getitem__)
        (chosen,) = read_layers(model, target.tokenizer, exam.kind, exam.asked, progress, layer=best)
        return Attempt(
            answers=exam.answered(chosen),
            found={"layer": best, "others_right_by_layer": [round(count / len(exam.others), 4) for count in right]},
        )


def read_layers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    kind: Kind,
    questions: Sequence[Question],
    progress: Progress,
    *,
    layer: int | None = None,
) -> list[list[int]]:
    """The choice that each layer prefers for each question: [layers][questions], first block first, or one alone.

    What follows the last block is the model's own, whatever it is: last norm, projection, head, scale and cap. It costs
    more than the blocks, so it runs once where choices continue the same text.
    """
    import torch

    from govern.evaluation.harness import prompts_of
    from govern.evaluation.scoring import padded
    from govern.unlearning.activations import find_blocks

    layers = range(len(find_blocks(model))) if layer is None else [layer]
    found: list[list[int]] = [[] for _ in layers]
    prompts = prompts_of(model, tokenizer, kind, questions)
    done = 0
    while batch := list(islice(prompts, _QUESTIONS_PER_BATCH)):
        texts = _Texts.of([pair for pairs in batch for pair in pairs])
        with torch.inference_mode():
            endings = _endings(model, padded(texts.rows).to(model.device), texts.places, layers)
            for chosen, logits in zip(found, endings, strict=True):
                chosen += [int(each.argmax()) for each in texts.totals(logits).split([len(pairs) for pairs in batch])]
        done += len(batch)
        progress("read the layers", done, len(questions))
    return found


def _endings(
    model: PreTrainedModel, ids: Tensor, places: tuple[list[int], list[int]], layers: Sequence[int]
) -> Iterator[Tensor]:
    """The logits [places, vocabulary] that follow where each layer's output takes the place of the last one's."""
    import torch

    from govern.unlearning.activations import find_blocks

    blocks, head = find_blocks(model), model.get_output_embeddings()
    rows, positions = (torch.tensor(column, device=model.device) for column in places)
    outputs: list[Any] = []
    with ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.register_forward_hook(lambda *called: outputs.append(called[-1])).remove)
        model.get_decoder()(ids, use_cache=False)
    with ExitStack() as hooks:
        if head is not None:
            chosen = head.register_forward_pre_hook(lambda _, said: (said[0][rows, positions], *said[1:]))
            hooks.callback(chosen.remove)
        # Nothing is computed again below the model's end: each block says what it said, and the last what is asked.
        for block, output in zip(blocks, outputs, strict=True):
            hooks.enter_context(replaced_forward(block, lambda *_, output=output, **__: output))
        for layer in layers:
            with replaced_forward(blocks[-1], lambda *_, layer=layer, **__: outputs[layer]):
                logits = model(ids, use_cache=False).logits
            # A head that is no module of its own, or is not called as one, gives logits everywhere.
            yield logits[rows, positions] if logits.dim() == 3 else logits


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module say something else while this lasts."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


@dataclass(frozen=True)
class _Texts:
    """What choices need of a model: `rows` of ids to read, the `places` in them (rows, positions) to put a head behind,
    and for each token of each choice (`owners`: which one) the index of its place and its id."""

    rows: list[Ids]
    places: tuple[list[int], list[int]]
    owners: list[int]
    tokens: tuple[list[int], list[int]]

    @classmethod
    def of(cls, pairs: Sequence[tuple[list[int], list[int]]]) -> _Texts:
        """Of the (context ids, choice ids) of every choice."""
        rows: list[Ids] = []
        place_of: dict[Ids, tuple[int, int, int]] = {}
        found: list[tuple[int, int, int]] = []
        # longest first, so that what a short choice continues is in a row that is read anyway
        for owner in sorted(range(len(pairs)), key=lambda index: -len(pairs[index][1])):
            context, choice = pairs[owner]
            whole = (*context, *choice)
            ends = range(len(context), len(whole))
            if any(whole[:end] not in place_of for end in ends):
                rows.append(whole[:-1])
            for end in ends:
                place, _, _ = place_of.setdefault(whole[:end], (len(place_of), len(rows) - 1, end - 1))
                found.append((owner, place, whole[end]))
        _, in_row, positions = map(list, zip(*place_of.values(), strict=True))
        owners, places, ids = map(list, zip(*found, strict=True))
        return cls(rows, (in_row, positions), owners, (places, ids))

    def totals(self, logits: Tensor) -> Tensor:
        """The log-likelihood (nats) of each choice, from the logits [places, vocabulary]."""
        import torch

        logits = logits.float()
        places, ids = (torch.tensor(column, device=logits.device) for column in self.tokens)
        likelihoods = (logits[places, ids] - logits.logsumexp(dim=1)[places]).cpu()
        owners = torch.tensor(self.owners)
        return torch.zeros(int(owners.max()) + 1).index_add_(0, owners, likelihoods)
