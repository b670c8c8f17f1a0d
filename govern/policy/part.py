"""The base of every part of a policy, and the fields that several parts share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from govern.errors import UsageError
from govern.sources import parse_source

NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
WORD = r"^[a-z0-9][a-z0-9_-]{0,63}$"
REVISION = r"^[0-9a-f]{40}$"
REQUEST = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$"
SPLIT = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
TEXT = r"\S"

PATTERNS = {
    NAME: "1 to 64 lower-case letters, digits and hyphens, not beginning with a hyphen",
    WORD: "1 to 64 lower-case letters, digits, hyphens and underscores, beginning with a letter or a digit",
    REVISION: "a full commit: 40 lower-case hex characters",
    REQUEST: "1 to 64 letters, digits, dots, slashes, hyphens and underscores, such as DSR-2026-0142",
    SPLIT: "the name of a split such as train (no slices; take the first N with `documents`)",
    TEXT: "some text",
}
"""What each pattern of this schema asks for, in words."""


class Problem(NamedTuple):
    """Something that one field alone does not show. `location` is relative to the part that found it."""

    location: tuple[str | int, ...]
    message: str
    hint: str | None = None


class Part(BaseModel):
    """A part of a policy: frozen, strict about unknown keys; whether it fits together is for `problems` to say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def problems(self) -> Iterator[Problem]:
        """What is wrong between this part's fields."""
        yield from ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found = [
            InitErrorDetails(
                type=PydanticCustomError("policy", "{message}", {"message": problem.message, "hint": problem.hint}),
                loc=problem.location,
                input=None,
            )
            for problem in self.problems()
        ]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self


def _known_scheme(text: str) -> str:
    try:
        parse_source(text)
    except UsageError as error:
        raise PydanticCustomError("policy", "{message}", {"message": error.message, "hint": error.hint}) from None
    return text


Name = Annotated[str, Field(pattern=NAME)]
Word = Annotated[str, Field(pattern=WORD)]
Text = Annotated[str, Field(pattern=TEXT)]
SourceText = Annotated[Text, AfterValidator(_known_scheme)]
Revision = Annotated[str, Field(pattern=REVISION)]
Split = Annotated[str, Field(pattern=SPLIT)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]
Metric = Literal["acc", "acc_norm"]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The nearest known word as a question, None where nothing is near."""
    close = get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else None
