"""Adversarial prefix search: Greedy Coordinate Gradient (Zou et al. 2023, arXiv 2307.15043, Algorithms 1 and 2).

One prefix for several questions (a universal one), searched on facts that are not asked about and then put before
those that are. Only its digest and the losses are kept: a prefix that works is a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.digests import sha256_bytes
from govern.progress import Progress
from govern.stress.attack import Attack, Attempt, Effort, Target
from govern.stress.exam import Exam

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ROWS = 64  # rows in one forward pass
_IGNORED = -100


class Gcg(Attack):
    """Search one prefix that makes the model answer the other facts (Zou et al. 2023, arXiv 2307.15043)."""

    title = "adversarial prefix (GCG)"

    attack: Literal["gcg"] = Field(description="The attack.")
    length: int = Field(default=20, ge=1, description="Tokens of the prefix.")
    steps: int | None = Field(default=None, ge=1, description="Rounds; by default 20 on a CPU and 500 on a GPU.")
    candidates: int | None = Field(
        default=None, ge=1, description="Prefixes tried a round; by default 32 on a CPU and 512 on a GPU."
    )
    top_k: int = Field(default=256, ge=1, description="Tokens that each place of the prefix may be exchanged for.")
    searched: int = Field(default=8, ge=1, description="Questions about other facts that the prefix is searched on.")
    seed: int = Field(default=0, ge=0, description="Decides which exchanges are tried.")

    def budget(self, device: str) -> tuple[int, int]:
        """Rounds, and prefixes a round, on a device such as `cpu` or `cuda:0`."""
        steps, candidates = (20, 32) if device == "cpu" else (500, 512)
        return self.steps or steps, self.candidates or candidates

    def effort(self, *, asked: int, others: int, device: str) -> Effort:
        """The questions, and every prefix that is tried."""
        steps, candidates = self.budget(device)
        return Effort(questions=asked, prefixes=steps * candidates, searched=min(self.searched, others))

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Search a prefix on other facts, and ask with it."""
        import torch

        model = target.load()
        prefix = beginning(target.tokenizer, self.length)
        search = Search.over(model, target.tokenizer, exam, prefix, self.searched)
        steps, candidates = self.budget(model.device.type)
        random = torch.Generator().manual_seed(self.seed)
        losses = [float(search.losses(prefix[None]))]
        for step in range(steps):
            promising = (-search.gradient(prefix)).topk(min(self.top_k, len(search.allowed)), dim=1).indices.cpu()
            tried = prefix.repeat(candidates, 1)
            places = torch.randint(len(prefix), (candidates,), generator=random)
            picks = torch.randint(promising.shape[1], (candidates,), generator=random)
            tried[torch.arange(candidates), places] = search.allowed[promising[places, picks]]
            kept = [row for row in tried if search.survives(row)] or [prefix]
            found = search.losses(torch.stack(kept))
            if float(found.min()) < losses[-1]:
                prefix = kept[int(found.argmin())]
            losses.append(min(float(found.min()), losses[-1]))
            progress("search a prefix", step + 1, steps, loss=losses[-1])
        text = str(target.tokenizer.decode(prefix.tolist()))
        prefixed = exam.rephrased(exam.kind, [f"{text} {question.text.strip()}" for question in exam.asked])
        return Attempt(
            answers=prefixed.ask(model, target.tokenizer),
            found={
                "loss_before": round(losses[0], 4),
                "loss_after": round(losses[-1], 4),
                "steps": steps,
                "candidates": candidates,
                "prefix_sha256": sha256_bytes(text.encode()),
            },
        )


def embeddings(model: PreTrainedModel) -> Tensor:
    """The table of what each token is read as [vocabulary, d]."""
    from torch import Tensor

    table = model.get_input_embeddings().weight
    assert isinstance(table, Tensor)  # noqa: S101 -- transformers types it as any attribute of a module
    return table


def beginning(tokenizer: PreTrainedTokenizerBase, length: int) -> Tensor:
    """The prefix that a search begins with: exclamation marks, as in the paper."""
    import torch

    marks = tokenizer.encode("!" + " !" * length, add_special_tokens=False)
    return torch.tensor(marks[:length])


@dataclass(frozen=True)
class Search:
    """The questions that a prefix is searched on: ids `before` it, `after` it up to the answer's end, and `targets`.

    `allowed` are the tokens that a prefix may hold: printable ASCII, none of them special.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    before: list[int]
    after: Tensor  # [questions, longest]
    targets: Tensor  # [questions, longest], the answer's ids and elsewhere _IGNORED
    allowed: Tensor

    @classmethod
    def over(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, exam: Exam, prefix: Tensor, count: int
    ) -> Search:
        """Take the first `count` of the exam's other questions, as they read after a prefix."""
        import torch

        from govern.corpora import encode
        from govern.evaluation.harness import prompts_of
        from govern.evaluation.scoring import padded

        special = set(tokenizer.all_special_ids)
        words = tokenizer.batch_decode([[token] for token in range(len(embeddings(model)))])
        allowed = [
            token
            for token, word in enumerate(words)
            if token not in special and word.strip() and word.isascii() and word.isprintable()
        ]
        begun, text = encode("", tokenizer), tokenizer.decode(prefix.tolist())
        questions = [replace(each, text=f"{text} {each.text.strip()}") for each in exam.others[:count]]
        rows, targets = [], []
        for question, pairs in zip(questions, prompts_of(model, tokenizer, exam.kind, questions), strict=True):
            context, answer = pairs[question.answer]
            context = context[len(begun) + len(prefix) :]
            rows.append([*context, *answer])
            targets.append([*[_IGNORED] * len(context), *answer])
        longest = max(map(len, rows))
        labels = torch.tensor([[*row, *[_IGNORED] * (longest - len(row))] for row in targets])
        return cls(model, tokenizer, begun, padded(rows), labels, torch.tensor(allowed))

    def survives(self, prefix: Tensor) -> bool:
        """Whether a prefix is read as the same tokens when it is written out before a question."""
        text = str(self.tokenizer.decode(prefix.tolist())).strip()
        return bool(self.tokenizer.encode(text, add_special_tokens=False) == prefix.tolist())

    def gradient(self, prefix: Tensor) -> Tensor:
        """How the loss grows with each allowed token at each place of the prefix, to first order [places, allowed]."""
        import torch
        from torch.nn.functional import one_hot

        table = embeddings(self.model)
        choice = one_hot(prefix, len(table)).to(table).requires_grad_()
        logits = self.model(inputs_embeds=self.embedded(choice), use_cache=False).logits
        (slope,) = torch.autograd.grad(self._loss(logits, self.targets).mean(), choice)
        return slope[:, self.allowed.to(slope.device)]

    def embedded(self, choice: Tensor) -> Tensor:
        """The questions with a prefix [places, vocabulary], as the first block reads them [questions, positions, d]."""
        import torch

        read = self.model.get_input_embeddings()
        rows, device = len(self.after), choice.device
        before = read(torch.tensor(self.before, dtype=torch.long, device=device)).detach().expand(rows, -1, -1)
        after = read(self.after.to(device)).detach()
        # Gemma 3 scales what it reads.
        prefix = choice @ embeddings(self.model).detach() * getattr(read, "embed_scale", 1.0)
        return torch.cat([before, prefix.expand(rows, -1, -1), after], dim=1)

    def losses(self, prefixes: Tensor) -> Tensor:
        """The mean loss of each prefix [candidates] over the questions, nats per token of the answer."""
        import torch

        count, rows = len(prefixes), len(self.after)
        begun = torch.tensor(self.before, dtype=torch.long).expand(count * rows, -1)
        ids = torch.cat([begun, prefixes.repeat_interleave(rows, dim=0), self.after.repeat(count, 1)], dim=1)
        targets = self.targets.repeat(count, 1)
        with torch.inference_mode():
            found = [
                self._loss(self.model(part.to(self.model.device), use_cache=False).logits, wanted).cpu()
                for part, wanted in zip(ids.split(_ROWS), targets.split(_ROWS), strict=True)
            ]
        return torch.cat(found).view(count, rows).mean(dim=1)

    @staticmethod
    def _loss(logits: Tensor, targets: Tensor) -> Tensor:
        """Each row's mean loss over its answer's tokens; `targets` are aligned with the end of the logits' rows."""
        from torch.nn.functional import cross_entropy

        wanted = targets.to(logits.device)
        said = logits[:, -wanted.shape[1] - 1 : -1].float()
        losses = cross_entropy(said.transpose(1, 2), wanted, ignore_index=_IGNORED, reduction="none")
        return losses.sum(dim=1) / (wanted != _IGNORED).sum(dim=1)
