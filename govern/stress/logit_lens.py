"""The logit lens: an inner layer may still know what the last one no longer says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.errors import GovernError
from govern.evaluation.questions import Question
from govern.progress import Progress
from govern.stress.attack import WHERE, Attack, Attempt, Target
from govern.stress.exam import Exam, Kind

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from govern.evaluation.scoring import Ids

_QUESTIONS_PER_BATCH = 8


class LogitLens(Attack):
    """Read the answer off an inner layer through the model's own head (nostalgebraist 2020)."""

    title = "logit lens"
    standard = ({},)
    asks_others = True

    attack: Literal["logit_lens"] = Field(description="The attack.")

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Answer by the layer that answers the other half of the facts best, and so was not chosen by those asked."""
        model = target.load()
        lens = Lens.over(model)
        others = lens.read(model, target.tokenizer, exam.kind, exam.others, progress)
        right = [
            sum(choice == each.answer for choice, each in zip(chosen, exam.others, strict=True)) for chosen in others
        ]
        best = max(range(len(right)), key=right.__getitem__)
        (chosen,) = lens.read(model, target.tokenizer, exam.kind, exam.asked, progress, layer=best)
        return Attempt(
            answers=exam.answered(chosen),
            found={"layer": best, "others_right_by_layer": [round(count / len(exam.others), 4) for count in right]},
        )


@dataclass(frozen=True)
class Lens:
    """The last norm and the head of a model, to be put behind every block."""

    norm: nn.Module
    head: nn.Module

    @classmethod
    def over(cls, model: PreTrainedModel) -> Lens:
        """Raises GovernError where the model has no such parts by the usual names."""
        decoder = model.get_decoder()
        norm = next((getattr(decoder, name) for name in ("norm", "final_layer_norm") if hasattr(decoder, name)), None)
        head = model.get_output_embeddings()
        if norm is None or head is None:
            raise GovernError(
                f"the logit lens does not fit a {type(model).__name__}: it has no last norm and head by a known name",
                where=WHERE,
                hint="Leave out `attack: logit_lens`.",
            )
        return cls(norm, head)

    def read(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        kind: Kind,
        questions: Sequence[Question],
        progress: Progress,
        *,
        layer: int | None = None,
    ) -> list[list[int]]:
        """The choice that each layer prefers for each question: [layers][questions], first block first, or one alone.

        The head behind every block costs more than the model, so it runs once where choices continue the same text.
        """
        import torch

        from govern.evaluation.harness import prompts_of
        from govern.evaluation.scoring import padded

        found: list[list[int]] = []
        prompts = prompts_of(model, tokenizer, kind, questions)
        done = 0
        while batch := list(islice(prompts, _QUESTIONS_PER_BATCH)):
            texts = _Texts.of([pair for pairs in batch for pair in pairs])
            with torch.inference_mode():
                states = model(padded(texts.rows).to(model.device), output_hidden_states=True, use_cache=False)
                blocks = states.hidden_states[1:]
                read = range(len(blocks)) if layer is None else [layer]
                found = found or [[] for _ in read]
                for chosen, block in zip(found, read, strict=True):
                    rows, positions = (torch.tensor(column, device=blocks[block].device) for column in texts.places)
                    hidden = blocks[block][rows, positions]
                    # transformers hands out the last block's output with the norm already applied
                    totals = texts.totals(self.head(hidden if block == len(blocks) - 1 else self.norm(hidden)))
                    chosen += [int(each.argmax()) for each in totals.split([len(pairs) for pairs in batch])]
            done += len(batch)
            progress("read the layers", done, len(questions))
        return found


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
