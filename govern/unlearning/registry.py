"""The names of the methods. A policy's `removal` is the union of their settings; the code loads when it is called."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from govern.records import Cost
from govern.unlearning.checkpoint_tensors import stored_tensors
from govern.unlearning.costs import cost_of
from govern.unlearning.external_settings import ExternalSettings
from govern.unlearning.protocol import Method, Scope
from govern.unlearning.rmu_settings import AdaptiveRmuSettings, RmuSettings
from govern.unlearning.settings_check import Refusal, check_settings
from govern.unlearning.srmu_settings import AnySrmuSettings
from govern.unlearning.whole_model import settings as whole_model
from govern.unlearning.whole_model.check import check_whole_model


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
        tensors = stored_tensors(model_path)
        if isinstance(settings, whole_model.WholeModel):
            return check_whole_model(settings, layers=layers, tensors=tensors)
        return check_settings(settings, layers=layers, tensors=tensors)

    def cost(self, settings: Any, model_path: Path, layers: int) -> Cost | None:
        """What the method costs on that model; None where it computes nothing."""
        return cost_of(settings, self.scope, layers=layers, tensors=stored_tensors(model_path))


METHODS: dict[str, Registered] = {
    "srmu": Registered(AnySrmuSettings, "representation", "govern.unlearning.srmu:srmu"),
    "rmu": Registered(RmuSettings, "representation", "govern.unlearning.rmu:rmu"),
    "adaptive_rmu": Registered(AdaptiveRmuSettings, "representation", "govern.unlearning.rmu:adaptive_rmu"),
    "ga": Registered(whole_model.GaSettings, "logit", "govern.unlearning.whole_model.ga:ga"),
    "grad_diff": Registered(whole_model.GradDiffSettings, "logit", "govern.unlearning.whole_model.grad_diff:grad_diff"),
    "npo": Registered(whole_model.NpoSettings, "logit", "govern.unlearning.whole_model.npo:npo"),
    "simnpo": Registered(whole_model.SimNpoSettings, "logit", "govern.unlearning.whole_model.simnpo:simnpo"),
    "undial": Registered(whole_model.UndialSettings, "logit", "govern.unlearning.whole_model.undial:undial"),
    "rklu": Registered(whole_model.RkluSettings, "logit", "govern.unlearning.whole_model.rklu:rklu"),
    "depn": Registered(whole_model.DepnSettings, "neuron", "govern.unlearning.whole_model.depn:depn"),
    "llmu": Registered(whole_model.LlmuSettings, "logit", "govern.unlearning.whole_model.llmu:llmu"),
    "scrub": Registered(whole_model.ScrubSettings, "logit", "govern.unlearning.whole_model.scrub:scrub"),
    "ssd": Registered(whole_model.SsdSettings, "weight", "govern.unlearning.whole_model.ssd:ssd"),
    "task_arithmetic": Registered(
        whole_model.TaskArithmeticSettings, "weight", "govern.unlearning.whole_model.task_arithmetic:task_arithmetic"
    ),
    "quark": Registered(whole_model.QuarkSettings, "logit", "govern.unlearning.whole_model.quark:quark"),
    "external": Registered(ExternalSettings, "weight", "govern.unlearning.external:external"),
}
