"""The methods by name: our own, a line each, and those that other distributions offer. No torch here."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from govern.errors import IntegrityError, UsageError
from govern.plugins import discovered
from govern.records import Origin
from govern.unlearning.method import Method
from govern.unlearning.settings import MethodSettings

GROUP = "govern.methods"

# The file of each method below this room, in the order in which they are listed everywhere.
_FILES = (
    "srmu",
    "rmu",
    "adaptive_rmu",
    "whole_model.ga",
    "whole_model.grad_diff",
    "whole_model.npo",
    "whole_model.simnpo",
    "whole_model.undial",
    "whole_model.rklu",
    "whole_model.depn",
    "whole_model.llmu",
    "whole_model.scrub",
    "whole_model.ssd",
    "whole_model.task_arithmetic",
    "whole_model.quark",
    "external",
)

_OWN: tuple[Method, ...] = tuple(import_module(f"govern.unlearning.{file}").METHOD for file in _FILES)

METHODS: dict[str, Method] = {method.name: method for method in _OWN}
"""Our own."""


def method_named(name: str) -> Method:
    """A method of ours, or of another distribution. Raises UsageError where there is none, or it cannot be used."""
    return METHODS[name] if name in METHODS else _others(name)


def is_offered(name: str) -> bool:
    """Whether a distribution other than this one offers a method of that name. None of ours can be replaced."""
    return name not in METHODS and name in discovered(GROUP)


def bound_method(name: str, origin: Origin | None) -> Method:
    """The method that a plan was made with. Raises UsageError as `method_named`, IntegrityError where its code differs.

    `origin` is what the plan says of where it comes from.
    """
    method = method_named(name)
    if method.origin != origin:
        here, there = map(_said, (method.origin, origin))
        raise IntegrityError(
            f"the method {name!r} is not the one of the plan: that one is of {there}, this is of {here}",
            where=GROUP,
            hint="Install the distribution that the plan names.",
        )
    return method


def _others(name: str) -> Method:
    if (plugin := discovered(GROUP).get(name)) is None:
        raise UsageError(
            f"there is no method {name!r} here",
            where=GROUP,
            hint="Install the distribution that offers it; the plan of a run names it.",
        )
    method: Method = plugin.load()
    reason = _unfit(name, method)
    if reason is not None:
        raise UsageError(
            f"{name!r} of the distribution {plugin.distribution} {plugin.version} {reason}",
            where=f"{GROUP}: {plugin.entry.value}",
            hint="Ask whoever ships it: docs/methods.md says what a method declares.",
        )
    origin = Origin(distribution=plugin.distribution, version=plugin.version, digest=plugin.digest)
    return replace(method, origin=origin)


def _said(origin: Origin | None) -> str:
    return f"{origin.distribution} {origin.version}, sha256:{origin.digest}" if origin else "govern itself"


def _unfit(name: str, method: Any) -> str | None:
    if not isinstance(method, Method):
        return f"is a {type(method).__name__}, not a govern.unlearning.method.Method"
    if method.name != name:
        return f"declares another name, {method.name!r}"
    if method.run is None and method.steer is None:
        return "declares neither `run` nor `steer`"
    if not all(issubclass(kind, MethodSettings) for kind in method.kinds) or not method.kinds:
        return "has settings that are no MethodSettings"
    return None
