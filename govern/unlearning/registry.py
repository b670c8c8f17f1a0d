"""The names of the methods. A policy's `removal` is the union of their settings; the code loads when it is called."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from govern.unlearning.checkpoint_tensors import stored_tensors
from govern.unlearning.external_settings import ExternalSettings
from govern.unlearning.protocol import Method, Scope
from govern.unlearning.rmu_settings import AdaptiveRmuSettings, RmuSettings
from govern.unlearning.settings_check import Refusal, check_settings
from govern.unlearning.srmu_settings import AnySrmuSettings


@dataclass(frozen=True)
class Registered:
    """A method by name: its settings, its scope, and where its function lives ("module:function").

    `settings` is what a policy's `removal` may hold: a settings class, or the union of a method's solvers.
    """

    settings: Any
    scope: Scope
    location: str

    def load(self) -> Method[Any]:
        """Import the method (and torch with it)."""
        module, _, name = self.location.partition(":")
        method: Method[Any] = getattr(import_module(module), name)
        return method

    def check(self, settings: Any, model_path: Path, layers: int) -> tuple[Refusal, ...]:
        """What the model in `model_path`, of `layers` decoder blocks, cannot do of `settings`; no weight is loaded."""
        if isinstance(settings, ExternalSettings):
            return ()
        return check_settings(settings, layers=layers, tensors=stored_tensors(model_path))


METHODS: dict[str, Registered] = {
    "srmu": Registered(AnySrmuSettings, "representation", "govern.unlearning.srmu:srmu"),
    "rmu": Registered(RmuSettings, "representation", "govern.unlearning.rmu:rmu"),
    "adaptive_rmu": Registered(AdaptiveRmuSettings, "representation", "govern.unlearning.rmu:adaptive_rmu"),
    "external": Registered(ExternalSettings, "weight", "govern.unlearning.external:external"),
}
