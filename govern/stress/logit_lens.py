"""The logit lens: an inner layer may still know what the last one no longer says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from govern.errors import GovernError
from govern.evaluation.harness import prompts_of
from govern.evaluation.questions import Question
from govern.evaluation.scoring import padded
from govern.progress import Progress
from govern.stress.exam import Exam, Kind
from govern.stress.protocol import Attempt, Target
from govern.stress.settings import LogitLens


def logit_lens(settings: LogitLens, target: Target, exam: Exam, progress: Progress) -> Attempt:  # noqa: ARG001
    """Answer by the layer that answers the other half of the facts best, and so was not chosen by those asked."""
    model = target.load()
    lens = Lens.over(model)
    others = lens.read(model, target.tokenizer, exam.kind, exam.others, progress)
    right = [sum(choice == each.answer for choice, each in zip(chosen, exam.others, strict=True)) for chosen in others]
    best = max(range(len(right)), key=right.__getitem__)
    chosen = lens.read(model, target.tokenizer, exam.kind, exam.asked, progress)[best]
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
                where="verification.stress",
                hint="Leave out `attack: logit_lens`.",
            )
        return cls(norm, head)

    @torch.inference_mode()
    def read(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        kind: Kind,
        questions: Sequence[Question],
        progress: Progress,
    ) -> list[list[int]]:
        """The choice that each layer prefers for each question: [layers][questions], first block first."""
        found: list[list[int]] = []
        for done, pairs in enumerate(prompts_of(model, tokenizer, kind, questions), start=1):
            rows = [[*context, *choice] for context, choice in pairs]
            states = model(padded(rows).to(model.device), output_hidden_states=True, use_cache=False).hidden_states[1:]
            places = [
                (row, position)
                for row, (context, choice) in enumerate(pairs)
                for position in range(len(context) - 1, len(context) + len(choice) - 1)
            ]
            targets = [token for _, choice in pairs for token in choice]
            owner = torch.tensor([row for row, _ in places])
            row, position = (torch.tensor(column, device=model.device) for column in zip(*places, strict=True))
            for layer, state in enumerate(states):
                if len(found) <= layer:
                    found.append([])
                hidden = state[row, position]
                # transformers hands out the last block's output with the norm already applied
                likelihoods = self._likelihoods(hidden if layer == len(states) - 1 else self.norm(hidden), targets)
                totals = torch.zeros(len(pairs)).index_add_(0, owner, likelihoods)
                found[layer].append(int(totals.argmax()))
            progress("read the layers", done, len(questions))
        return found

    def _likelihoods(self, hidden: Tensor, targets: list[int]) -> Tensor:
        logits: Tensor = self.head(hidden).float()
        wanted = torch.tensor(targets, device=logits.device)
        likelihoods: Tensor = logits.gather(1, wanted[:, None]).squeeze(1) - logits.logsumexp(dim=1)
        return likelihoods.cpu()
