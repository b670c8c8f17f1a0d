"""What the settings of whole-model methods are made of. No torch here."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from pydantic import Field

from govern.unlearning.settings import Descent, MethodSettings, Trained


class Passes(NamedTuple):
    """How often a batch of documents goes through the model in one step (or, without steps, for each batch)."""

    forward: int
    backward: int


class WholeModel(MethodSettings):
    """What these methods share. The weights are float32; `dtype` is what products are computed in.

    `reference` says that the base's weights are kept beside the model, `kept` how many numbers as large as a
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
        """What one step costs: the text that it reads, forward and back."""
        return Passes(1, 1)


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


class RetainedObjective(Objective):
    """An objective that also learns the retain text."""

    retain_weight: float = Field(
        default=1.0, ge=0, description="α: how much the loss on retain text weighs; 0 leaves it out."
    )

    @property
    def passes(self) -> Passes:
        """Both texts, retain text where it weighs anything, and the forget text through the base where it is kept."""
        retained = 1 if self.retain_weight else 0
        return Passes(1 + self.reference + retained, 1 + retained)


class Measured(WholeModel):
    """Methods that measure each weight or neuron on some batches and change those that stand out: no training."""

    batches: int = Field(default=64, ge=1, description="Batches of each kind and topic that are measured, at most.")
