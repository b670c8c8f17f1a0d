"""Facts: single values of the records, formatted once, so that every rendering prints the same.

A fact is read by its JSON Pointer (RFC 6901) from the run's documents, so that nothing on the page can come from
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, model_validator

from govern.records.base import Record
from govern.reporting.forms import Form, count, plain
from govern.reporting.text import clean, one_line

Text = Annotated[str, AfterValidator(clean)]
Line = Annotated[str, AfterValidator(one_line)]

Kind = Literal["text", "number", "code", "prose", "verdict"]


class Fact(Record):
    """One value as it is printed. `pointer` finds it in `{plan, removal, verdict, report}`; `beside` goes with it.

    Only prose has lines of its own.
    """

    pointer: Line
    label: Line
    text: Text
    kind: Kind = "text"
    beside: Fact | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_line(cls, fields: Any) -> Any:
        if fields.get("kind") == "prose":
            return fields
        return {**fields, "text": one_line(fields["text"])}


@dataclass(frozen=True)
class Field:
    """How a value of a record is shown: its name there, its label, and its form. `beside` is shown with it.

    `heading` heads its column, where that is not the label. A name with slashes leads into what the record holds, an
    empty one is the record itself.
    """

    name: str
    label: str
    form: Form | None = None
    kind: Kind = "text"
    beside: Field | None = None
    heading: str | None = None


class Listing(NamedTuple):
    """How an array of records is shown: a table with a row for each, a column for each field."""

    caption: str
    pointer: str
    fields: tuple[Field, ...]


class Column(Record):
    """A table's column; numbers are set flush right."""

    label: Line
    numeric: bool = False


class Table(Record):
    """Rows of facts under columns; the first fact of a row heads it."""

    caption: Line
    columns: tuple[Column, ...]
    rows: tuple[tuple[Fact, ...], ...]


@dataclass(frozen=True)
class Documents:
    """The JSON documents that facts are read from, by name."""

    values: Mapping[str, Any]

    def read(self, pointer: str) -> Any:
        """The JSON value at an RFC 6901 pointer. Raises KeyError or IndexError where there is none."""
        value: Any = self.values
        for token in pointer.removeprefix("/").split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
        return value

    def fact(
        self, pointer: str, label: str, form: Form | None = None, *, kind: Kind = "text", beside: Fact | None = None
    ) -> Fact:
        """The value at `pointer`, printed by `form`."""
        value = self.read(pointer)
        if value is None and kind == "code":
            kind = "text"
        return Fact(pointer=pointer, label=label, text=(form or plain)(value), kind=kind, beside=beside)

    def facts(self, pointer: str, *, kind: Kind = "text") -> tuple[Fact, ...]:
        """One fact for each entry of the JSON object at `pointer`, by name; names in nested objects get dots."""
        found: list[Fact] = []
        for name, value in sorted(self.read(pointer).items()):
            here = f"{pointer}/{escape_pointer(name)}"
            if isinstance(value, dict) and value:
                found += [
                    inner.model_copy(update={"label": one_line(f"{name}.{inner.label}")}) for inner in self.facts(here)
                ]
            else:
                found.append(self.fact(here, name, kind=kind))
        return tuple(found)

    def each(self, pointer: str) -> list[str]:
        """A pointer to each entry of the JSON array at `pointer`; none where the record leaves it out."""
        holder, _, name = pointer.rpartition("/")
        return [f"{pointer}/{index}" for index in range(len(self.read(holder).get(name, ())))]

    def show(self, field: Field, here: str = "") -> Fact:
        """A field of the record at `here`, by default of all documents."""
        beside = self.show(field.beside, here) if field.beside else None
        pointer = f"{here}/{field.name}" if field.name else here
        return self.fact(pointer, field.label, field.form, kind=field.kind, beside=beside)

    def rows(self, fields: Iterable[Field], here: str = "") -> tuple[Fact, ...]:
        """One fact for each field of the record at `here`."""
        return tuple(self.show(field, here) for field in fields)

    def listed(self, listing: Listing) -> Table:
        """The table of a whole array."""
        return self.table(listing.caption, listing.fields, self.each(listing.pointer))

    def table(self, caption: str, fields: Iterable[Field], places: Iterable[str]) -> Table:
        """A row for each record at `places`, a column for each field."""
        fields = tuple(fields)
        return Table(caption=caption, columns=columns(fields), rows=tuple(self.rows(fields, here) for here in places))


def columns(fields: Iterable[Field]) -> tuple[Column, ...]:
    """The columns of a table of these fields."""
    return tuple(Column(label=field.heading or field.label, numeric=field.kind == "number") for field in fields)


def code(name: str, label: str, form: Form | None = None, *, beside: Field | None = None) -> Field:
    """A field for machines: an identifier, a digest."""
    return Field(name, label, form, "code", beside)


def number(
    name: str, label: str, form: Form | None = None, *, beside: Field | None = None, heading: str | None = None
) -> Field:
    """A field that is a number, by default a count."""
    return Field(name, label, form or count, "number", beside, heading)


def between(name: str, form: Form) -> Field:
    """The interval that goes with an estimate."""
    return number(name, "Interval", form)


def escape_pointer(name: str) -> str:
    """A member's name as a token of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")
