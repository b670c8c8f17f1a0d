"""The parts that methods' settings are made of. No torch here, so that policies load in milliseconds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from govern.errors import RemovalError


class Settings(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Trained(Settings):
    """Which parameters may change: modules by name within each decoder block, and the blocks (from 0)."""

    modules: tuple[str, ...] = Field(
        default=("mlp.down_proj",), min_length=1, description="Modules by name within a block, such as mlp.down_proj."
    )
    layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, description="Decoder blocks, from 0.")


class Relative(Settings):
    """A coefficient as a multiple of the mean norm of h on forget text (Adaptive RMU's idea)."""

    relative: float = Field(gt=0, description="How many mean norms of h on forget text.")


Positive = Annotated[float, Field(gt=0)]


class SweepRange(Settings):
    """An arithmetic grid, `stop` included only where a step lands on it; the paper's is 1, 11, …, 161."""

    start: float = Field(gt=0, description="The first value.")
    stop: float = Field(gt=0, description="Where the grid ends.")
    step: float = Field(gt=0, description="From one value to the next.")

    def __len__(self) -> int:
        return max(math.floor((self.stop - self.start) / self.step + 1e-9) + 1, 0)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """The values, each start + k·step."""
        return tuple(self.start + k * self.step for k in range(len(self)))


class SweepValues(Settings):
    """Values one by one."""

    values: tuple[Positive, ...] = Field(min_length=1, description="The values to try.")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """The values."""
        return self.values


class SweepRelative(Settings):
    """Values as multiples of the mean norm of h on forget text."""

    relative: tuple[Positive, ...] = Field(min_length=1, description="How many mean norms of h on forget text.")

    def __len__(self) -> int:
        return len(self.relative)

    @property
    def coefficients(self) -> tuple[Relative, ...]:
        """The values."""
        return tuple(Relative(relative=value) for value in self.relative)


def _kind_of_grid(value: Any) -> str:
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return next((kind for kind in ("values", "relative") if kind in given), "range")


class CoefficientSweep(Settings):
    """A grid of coefficients, one of which a sweep chooses before the policy is applied."""

    sweep: Annotated[
        Annotated[SweepRange, Tag("range")]
        | Annotated[SweepValues, Tag("values")]
        | Annotated[SweepRelative, Tag("relative")],
        Discriminator(_kind_of_grid),
    ] = Field(description="The values to try: start, stop and step, or values, or relative.")


def undecided(field: str) -> RemovalError:
    """The error for a value that a sweep still has to choose."""
    return RemovalError(
        f"the policy leaves the {field} to a sweep",
        where=f"removal.{field}",
        hint="A sweep has to choose first; then write the number that it chose in the sweep's place.",
    )


class MethodSettings(Settings):
    """What every method's settings hold, beside a `method` that is the Literal of its name."""

    if TYPE_CHECKING:
        method: str

    dtype: Literal["bfloat16", "float32"] = Field(default="bfloat16", description="What the model computes in.")
    batch_size: int = Field(default=4, ge=1, description="Documents in a batch.")
    seed: int = Field(default=0, ge=0, description="Decides the order of the text and every random number.")


class Steering(MethodSettings):
    """What all methods share that steer h, the output of one decoder block, and keep it on retain text."""

    layer: int = Field(ge=0, description="The decoder block ℓ whose output h is steered, from 0.")
    train: Trained = Field(description="Which parameters may change.")
    retain_weight: float = Field(ge=0, description="α: how much retain text weighs against forget text.")
    mask: Literal["default", "reference"] = Field(
        default="default", description="default leaves out padding and the first token, reference averages over all."
    )


class Descent(Settings):
    """What the gradient solver needs to know: AdamW on float32 masters."""

    steps: int = Field(default=150, ge=1, description="Batches in all; topics take turns.")
    learning_rate: float = Field(gt=0, description="AdamW's; what fits a 7B model moves nothing in a small one.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's.")


class Descending(Steering, Descent):
    """A method that steers by gradient."""
