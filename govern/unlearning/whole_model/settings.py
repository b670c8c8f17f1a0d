"""The settings of the methods that look at the model's output. No torch here; sources stand beside the methods."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from govern.unlearning.settings import Descent, MethodSettings, Positive, Trained


class Passes(NamedTuple):
    """How often a batch of documents goes through the model in one step (or, without steps, for each batch)."""

    forward: int
    backward: int


class WholeModel(MethodSettings):
    """What these methods share. The weights are float32; `dtype` is what products are computed in.

    `reference` says that the weights as they were are kept beside the model, `kept` how many numbers as large as a
    weight that may change lie beside it: its gradient and AdamW's two moments. `modules` are those, of all blocks, that
    change where `train` names none; where there are none either, every weight does.
    """

    reference: ClassVar[bool] = False
    kept: ClassVar[int] = 3
    modules: ClassVar[tuple[str, ...]] = ()

    train: Trained | None = Field(
        default=None, description="Which parameters may change; without it, every weight of the model."
    )

    def changing(self, layers: int) -> Trained | None:
        """Which parameters of a model of so many blocks may change; None where every weight may."""
        if self.train is None and self.modules:
            return Trained(modules=self.modules, layers=tuple(range(layers)))
        return self.train

    @property
    def rank(self) -> int | None:
        """The rank of the adapter that is trained in the weights' place, None where they are trained themselves."""
        return None

    @property
    def passes(self) -> Passes:
        """What one step costs."""
        raise NotImplementedError


class Objective(WholeModel, Descent):
    """A loss that AdamW minimises, over every weight, some modules of some blocks, or a low-rank adapter."""

    learning_rate: float = Field(default=1e-5, gt=0, description="AdamW's; adapters want ten times as much or more.")
    lora_rank: int | None = Field(
        default=None, ge=1, description="Train an adapter of this rank on the linear maps and merge it at the end."
    )

    @property
    def rank(self) -> int | None:
        """The adapter's."""
        return self.lora_rank


class GaSettings(Objective):
    """Gradient ascent on the forget text."""

    method: Literal["ga"] = Field(description="The removal method.")

    @property
    def passes(self) -> Passes:
        """The forget text alone."""
        return Passes(1, 1)


class RetainedObjective(Objective):
    """An objective that also learns the retain text."""

    retain_weight: float = Field(
        default=1.0, ge=0, description="α: how much the loss on retain text weighs; 0 leaves it out."
    )

    @property
    def _retained(self) -> int:
        return 1 if self.retain_weight else 0


class GradDiffSettings(RetainedObjective):
    """Gradient difference: ascent on the forget text, descent on the retain text."""

    method: Literal["grad_diff"] = Field(description="The removal method.")
    forget_weight: float = Field(default=1.0, ge=0, description="γ: how much the ascent weighs.")

    @property
    def passes(self) -> Passes:
        """Both texts."""
        return Passes(1 + self._retained, 1 + self._retained)


class NpoSettings(RetainedObjective):
    """Negative preference optimisation."""

    reference: ClassVar[bool] = True

    method: Literal["npo"] = Field(description="The removal method.")
    beta: Positive = Field(default=0.1, description="β: the smaller, the more like gradient ascent.")
    forget_weight: float = Field(default=1.0, ge=0, description="γ: how much the forget loss weighs.")

    @property
    def passes(self) -> Passes:
        """Both texts, and the forget text through the model as it was."""
        return Passes(2 + self._retained, 1 + self._retained)


class SimNpoSettings(RetainedObjective):
    """Negative preference optimisation without a reference, normalised by length."""

    method: Literal["simnpo"] = Field(description="The removal method.")
    beta: Positive = Field(default=4.5, description="β.")
    delta: float = Field(default=0.0, ge=0, description="δ: the reward margin.")
    forget_weight: float = Field(default=0.125, ge=0, description="γ: how much the forget loss weighs.")

    @property
    def passes(self) -> Passes:
        """Both texts."""
        return Passes(1 + self._retained, 1 + self._retained)


class UndialSettings(RetainedObjective):
    """Self-distillation with adjusted logits."""

    reference: ClassVar[bool] = True

    method: Literal["undial"] = Field(description="The removal method.")
    beta: Positive = Field(default=10.0, description="β: how far the true token's logit is lowered in the teacher.")
    learning_rate: float = Field(default=1e-4, gt=0, description="AdamW's.")
    retain_weight: float = Field(default=0.0, ge=0, description="α: the loss on retain text; the paper has none.")

    @property
    def passes(self) -> Passes:
        """The forget text through both models, and retain text where it weighs anything."""
        return Passes(2 + self._retained, 1 + self._retained)


class RkluSettings(RetainedObjective):
    """Distillation by reverse KL from a teacher that lacks what training on the forget text strengthens."""

    reference: ClassVar[bool] = True

    method: Literal["rklu"] = Field(description="The removal method.")
    strength: Positive = Field(default=5.0, description="α of the teacher: how far strengthened logits are lowered.")
    strengthening_steps: int = Field(
        default=50, ge=1, description="Batches of forget text that the strengthened model is trained on first."
    )
    retain_weight: float = Field(default=0.0, ge=0, description="The loss on retain text; 0 leaves it out.")

    @property
    def passes(self) -> Passes:
        """The forget text through three models, and retain text where it weighs anything."""
        return Passes(3 + self._retained, 1 + self._retained)


class LlmuSettings(Objective):
    """Ascent on the forget text, random answers to its beginnings, and the original's output on retain text."""

    reference: ClassVar[bool] = True

    method: Literal["llmu"] = Field(description="The removal method.")
    steps: int = Field(default=1000, ge=1, description="Batches in all; topics take turns.")
    learning_rate: float = Field(default=2e-6, gt=0, description="AdamW's.")
    forget_weight: float = Field(default=0.5, ge=0, description="ε1: how much the ascent weighs.")
    random_weight: float = Field(default=1.0, ge=0, description="ε2: how much the random answers weigh.")
    retain_weight: float = Field(default=1.0, ge=0, description="ε3: how much the KL to the original weighs.")
    random_answers: int = Field(default=5, ge=1, description="K: random answers to each beginning.")

    @property
    def passes(self) -> Passes:
        """The forget text, K answers to it, and retain text through both models."""
        return Passes(3 + self.random_answers, 2 + self.random_answers)


class ScrubSettings(Objective):
    """Away from the original on forget text, then back to it on retain text, in turn."""

    reference: ClassVar[bool] = True

    method: Literal["scrub"] = Field(description="The removal method.")
    retain_weight: float = Field(default=0.99, ge=0, description="γ: how much the loss on retain text weighs.")
    match_weight: float = Field(default=0.001, ge=0, description="α: how much the KL on retain text weighs.")
    temperature: Positive = Field(default=4.0, description="T: both models' logits are divided by it.")
    max_epochs: int = Field(
        default=2, ge=1, description="msteps: in these first epochs of forget text the model is also driven away."
    )

    @property
    def passes(self) -> Passes:
        """Both texts through both models, with an update after each."""
        return Passes(4, 2)


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


class TaskArithmeticSettings(Objective):
    """Fine-tuning on the forget text, and a step the other way."""

    method: Literal["task_arithmetic"] = Field(description="The removal method.")
    coefficient: Positive = Field(default=1.0, description="λ: how much of what was learnt is subtracted.")

    @property
    def passes(self) -> Passes:
        """The forget text alone."""
        return Passes(1, 1)


class Measured(WholeModel):
    """Methods that measure each weight or neuron on some batches and change those that stand out: no training."""

    batches: int = Field(default=64, ge=1, description="Batches of each kind and topic that are measured, at most.")


class SsdSettings(Measured):
    """Selective synaptic dampening."""

    method: Literal["ssd"] = Field(description="The removal method.")
    threshold: Positive = Field(default=10.0, description="α: how many times its importance for the rest selects.")
    dampening: Positive = Field(default=1.0, description="λ: the smaller, the more a selected weight shrinks.")

    @property
    def passes(self) -> Passes:
        """Every batch once, for its gradient."""
        return Passes(1, 1)


class DepnSettings(Measured):
    """Detecting and erasing the neurons that the forget text depends on."""

    kept: ClassVar[int] = 0
    modules: ClassVar[tuple[str, ...]] = ("mlp.down_proj",)

    method: Literal["depn"] = Field(description="The removal method.")
    train: Trained | None = Field(
        default=None,
        description="Where neurons are: one module whose inputs they are, and blocks; else mlp.down_proj of all.",
    )
    batches: int = Field(default=8, ge=1, description="Batches of forget text of each topic, at most.")
    neurons: int = Field(default=200, ge=1, description="How many neurons are erased.")
    points: int = Field(default=20, ge=1, description="m: points on the way from no activation to the whole one.")

    @property
    def passes(self) -> Passes:
        """For each block and batch, every point once."""
        return Passes(self.points, self.points)


WholeModelSettings = (
    GaSettings
    | GradDiffSettings
    | NpoSettings
    | SimNpoSettings
    | UndialSettings
    | RkluSettings
    | DepnSettings
    | LlmuSettings
    | ScrubSettings
    | SsdSettings
    | TaskArithmeticSettings
    | QuarkSettings
)
