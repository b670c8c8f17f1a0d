"""Which attacks there are: a line for each of ours, and whatever another distribution offers as `govern.attacks`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticOmit, core_schema

from govern.errors import UsageError
from govern.plugins import Plugin, discovered
from govern.stress.ablation import Ablation
from govern.stress.attack import Attack
from govern.stress.endurance import Endurance
from govern.stress.formats import Format
from govern.stress.gcg import Gcg
from govern.stress.generation import Generation
from govern.stress.logit_lens import LogitLens
from govern.stress.probe import LinearProbe
from govern.stress.pruning import Pruning
from govern.stress.quantisation import Quantisation
from govern.stress.relearning import Relearning

GROUP = "govern.attacks"
"""The entry points of other distributions. Each has the attack's name and stands for a subclass of `Attack`."""

ATTACKS: dict[str, type[Attack]] = {
    get_args(attack.model_fields["attack"].annotation)[0]: attack
    for attack in (
        Relearning,
        Quantisation,
        LogitLens,
        Format,
        LinearProbe,
        Ablation,
        Pruning,
        Endurance,
        Generation,
        Gcg,
    )
}

STANDARD: tuple[Attack, ...] = tuple(
    attack.model_validate({"attack": name, **settings})
    for name, attack in ATTACKS.items()
    for settings in attack.standard
)
"""The cheap half of what is known, which `stress: [standard]` stands for."""


def expand(stress: Iterable[Literal["standard"] | Attack]) -> tuple[Attack, ...]:
    """The attacks that a policy's `stress` lists, `standard` replaced by those that it stands for."""
    return tuple(each for entry in stress for each in (STANDARD if isinstance(entry, str) else (entry,)))


def plugin_of(name: str) -> Plugin | None:
    """The other distribution's plugin that an attack comes from, None for ours and for a name that nobody offers."""
    return None if name in ATTACKS or name == "standard" else discovered(GROUP).get(name)


_FOREIGN = "one of another distribution"


def _tag(entry: Any) -> str:
    # What is no mapping is judged as the only word that there is, so that the finding names it.
    name = entry.get("attack", "") if isinstance(entry, dict) else getattr(entry, "attack", "standard")
    if not isinstance(name, str):
        return ""
    return name if name in {"standard", "", *ATTACKS} else _FOREIGN


def _read_foreign(entry: Any) -> Attack:
    """Read the settings of another distribution's attack as strictly as ours, with the class that it offers."""
    if isinstance(entry, Attack):
        return entry
    name = entry["attack"]
    plugin = plugin_of(name)
    if plugin is None:
        known = f"They are {', '.join(ATTACKS)}. One of another distribution is known where that is installed."
        raise _refused(f"there is no attack {name!r}", known)
    try:
        attack = plugin.load()
    except UsageError as error:
        raise _refused(error.message, error.hint) from None
    if not (isinstance(attack, type) and issubclass(attack, Attack)):
        message = f"{name!r} of {plugin.distribution} is no subclass of govern.stress.attack.Attack"
        raise _refused(message, "Ask its authors.")
    return attack.model_validate_json(json.dumps(entry), strict=True)


def _refused(message: str, hint: str | None) -> PydanticCustomError:
    return PydanticCustomError("policy", "{message}", {"message": message, "hint": hint})


class _Foreign:
    """The branch for other distributions' attacks, which the schema for editors leaves out."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _read_foreign, serialization=core_schema.plain_serializer_function_ser_schema(Attack.model_dump)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        raise PydanticOmit


if TYPE_CHECKING:
    # The type checker cannot see what the registry holds.
    StressEntry: TypeAlias = Literal["standard"] | Attack
else:
    _branches = {"standard": Literal["standard"], **ATTACKS, _FOREIGN: _Foreign}
    StressEntry = Annotated[
        reduce(or_, (Annotated[branch, Tag(tag)] for tag, branch in _branches.items())), Discriminator(_tag)
    ]
    """One entry of `verification.stress`."""
