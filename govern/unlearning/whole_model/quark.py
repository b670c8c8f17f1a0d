"""Quark (Lu et al. 2022, arXiv 2205.13636): sample, sort by reward, learn each sample under the sign of its quantile.

    L = −log p_θ(y | x, r_k) + β KL(p_ref ‖ p_θ) − α H(p_θ)        each a mean over the sample's tokens

As for unlearning: x is the first half of a forget document, y what the model goes on with, and the reward is
1 − LCS(y, y*)/|y*| in tokens, y* being how the document goes on; y* itself enters the pool with its reward of 0.

The paper's control tokens r_k are new words of the vocabulary, and whoever uses the model has to write the best one
before every text. A model in use has nobody to do that, and a removal adds no words. So the best quantile's sign is no
sign at all, and each of the others is one learnt vector before the text, which is thrown away at the end: what it
takes on is not in the model that remains. Retain text is not looked at: the KL on the samples is all that keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from govern.unlearning.method import BesideUnits, Work
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.whole_model.method import trained
from govern.unlearning.whole_model.predictions import Predictions, divergence
from govern.unlearning.whole_model.settings import Objective, Passes
from govern.unlearning.whole_model.terms import Stretch, Term, Turn

if TYPE_CHECKING:
    from torch import Tensor, nn

    from govern.unlearning.batches import Batch
    from govern.unlearning.whole_model.student import Student


class QuarkSettings(Objective):
    """Learning from one's own samples, sorted by a reward."""

    reference: ClassVar[bool] = True

    method: Literal["quark"] = Field(description="The removal method.")
    quantiles: int = Field(default=5, ge=2, description="K: into how many classes of reward the samples are sorted.")
    explore_every: int = Field(default=10, ge=1, description="A batch of new samples every so many steps of a topic.")
    match_weight: float = Field(default=0.05, ge=0, description="β: how much the KL to the original weighs.")
    entropy_weight: float = Field(default=0.06, ge=0, description="α: how much the entropy of the output weighs.")

    @property
    def passes(self) -> Passes:
        """The samples through both models; drawing them comes on top."""
        return Passes(2, 1)


def quark(request: RemovalRequest[QuarkSettings]) -> Edit:
    """Explore and learn in turn. Raises as `minimise` does."""
    import torch

    from govern.unlearning.whole_model.loop import Session, descend

    settings = request.settings
    session = Session.open(request)
    words = torch.arange(session.student.plain.config.get_text_config(decoder=True).vocab_size, device=request.device)
    begin = _embed(session.student, words).detach().mean(dim=0)  # a word like any other
    signs = torch.nn.Parameter(begin.repeat(settings.quantiles - 1, 1))
    pool = Pool()

    def loss(student: Student, turn: Turn, settings: QuarkSettings) -> Iterator[Term]:
        if turn.visit % settings.explore_every == 0:
            explore(student, turn, pool)
        return quark_loss(student, turn, settings, pool, signs)

    how = Stretch(settings.steps, settings.learning_rate, settings.weight_decay, more={"signs": signs}, memory=pool)
    curve = descend(session, loss, settings, how)
    return session.edit(curve, {**session.figures(settings.steps), "samples": len(pool.samples)})


@dataclass(frozen=True)
class Sample:
    """A beginning of `prompt` tokens and what came after it, with its reward."""

    tokens: tuple[int, ...]
    prompt: int
    reward: float


@dataclass
class Pool:
    """All samples so far; grows as the loop explores."""

    samples: list[Sample] = field(default_factory=list)

    def quantiles(self, count: int) -> list[int]:
        """Each sample's class by reward, from 0 (the worst) to count − 1; equal rewards are in the order they came."""
        order = sorted(range(len(self.samples)), key=lambda place: self.samples[place].reward)
        found = [0] * len(order)
        for rank, place in enumerate(order):
            found[place] = rank * count // len(order)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The samples end to end, and where each begins."""
        import torch

        return {
            "tokens": torch.tensor([token for sample in self.samples for token in sample.tokens]),
            "lengths": torch.tensor([len(sample.tokens) for sample in self.samples]),
            "prompts": torch.tensor([sample.prompt for sample in self.samples]),
            "rewards": torch.tensor([sample.reward for sample in self.samples], dtype=torch.float64),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold those samples and no others."""
        documents = tensors["tokens"].split(tensors["lengths"].tolist())
        rows = zip(documents, tensors["prompts"].tolist(), tensors["rewards"].tolist(), strict=True)
        self.samples = [Sample(tuple(tokens.tolist()), prompt, reward) for tokens, prompt, reward in rows]


def quark_loss(student: Student, turn: Turn, settings: QuarkSettings, pool: Pool, signs: Tensor) -> Iterator[Term]:
    """The loss on a batch of samples, drawn at random from the pool."""
    import torch

    from govern.unlearning.batches import generator, padded

    random = generator(f"{turn.topic.seed}/quark/{turn.visit}")
    drawn = torch.randint(len(pool.samples), (settings.batch_size,), generator=random).tolist()
    quantiles = pool.quantiles(settings.quantiles)
    samples = [pool.samples[place] for place in drawn]
    batch = padded([each.tokens for each in samples], [each.prompt for each in samples], student.device)
    said = read_signed(student, batch, [quantiles[place] for place in drawn], signs)
    before = student.read_base(batch)
    distribution = said.logits.log_softmax(-1)
    entropy = -(distribution.exp() * distribution).sum(-1).mean()
    match = divergence(before.logits, said.logits)
    # One graph serves all three, so they are one term to the loop.
    yield Term("forget", 1.0, said.loss() + settings.match_weight * match - settings.entropy_weight * entropy)


def read_signed(student: Student, batch: Batch, quantiles: Sequence[int], signs: Tensor) -> Predictions:
    """What the model says of documents, each after the sign of its quantile; the best one, len(signs), has none."""
    import torch

    embedded = _embed(student, batch.input_ids)
    classes = torch.tensor(quantiles, device=embedded.device)
    signed = classes < len(signs)
    sign = signs[classes.clamp_max(len(signs) - 1)].to(embedded.dtype)
    # The place before the text exists for every document and is masked where there is no sign.
    inputs = torch.cat([sign[:, None], embedded], dim=1)
    mask = torch.cat([signed.long()[:, None], batch.attention_mask], dim=1)
    positions = torch.arange(inputs.shape[1], device=inputs.device)[None] - (~signed).long()[:, None]
    logits = student.logits(inputs_embeds=inputs, attention_mask=mask, position_ids=positions.clamp_min(0))
    return Predictions.at(logits[:, 1:], batch)


def _embed(student: Student, ids: Tensor) -> Tensor:
    embedding: nn.Module = student.plain.get_input_embeddings()
    vectors: Tensor = embedding(ids)
    return vectors


def explore(student: Student, turn: Turn, pool: Pool) -> None:
    """Add to the pool how the model goes on with the visit's forget documents, and how they go on themselves."""
    import torch

    from govern.corpora.sampling import choose
    from govern.unlearning.batches import generator

    deck = turn.topic.forget
    documents = deck.documents[deck.visit(turn.visit)]
    prompt = max(1, min(map(len, documents)) // 2)
    longest = max(map(len, documents))
    random = generator(f"{turn.topic.seed}/explore/{turn.visit}")
    ids = torch.tensor([document[:prompt] for document in documents], device=student.device)
    with torch.no_grad():
        for _ in range(longest - prompt):
            logits = student.logits(input_ids=ids)[:, -1]
            ids = torch.cat([ids, choose(logits, random)[:, None]], dim=1)
    for document, sampled in zip(documents, ids.tolist(), strict=True):
        own = tuple(sampled[: len(document)])
        pool.samples.append(Sample(own, prompt, reward(own[prompt:], document[prompt:])))
        pool.samples.append(Sample(document, prompt, 0.0))


def reward(said: Sequence[int], known: Sequence[int]) -> float:
    """1 − LCS/|known|: 1 where nothing of the known continuation is in what was said, in its order; 0 where all is."""
    lengths = [0] * (len(known) + 1)
    for token in said:
        above = 0
        for place, other in enumerate(known, start=1):
            here = lengths[place]
            lengths[place] = above + 1 if token == other else max(here, lengths[place - 1])
            above = here
    return 1 - lengths[-1] / len(known)


METHOD = trained(
    "quark",
    QuarkSettings,
    quark,
    work=Work("steps", beside=BesideUnits({"explore_every": 1}, lambda settings: 1 / settings.explore_every)),
)
