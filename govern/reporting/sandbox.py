"""Where templates run: Jinja over plain data alone, in the same words in this process and in one of its own.

A template is somebody else's program. It is given str, int, float, bool, None, lists and dicts, reads a dict's keys as
attributes, calls its own macros, `range` and the filters named here, and reaches nothing else: no method of a value, no
global of Jinja's, no file but the templates that were handed over. As a program (`python -m govern.reporting.sandbox`)
this reads a request as JSON, limits itself, and writes what was drawn as JSON; it imports nothing that could be of use.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound, TemplateSyntaxError, Undefined
from jinja2.environment import TemplateModule
from jinja2.runtime import BlockReference, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from markupsafe import Markup

from govern.reporting.text import clean, code_fence, escape_markdown

MEMORY: Final = 1 << 30
OUTPUT: Final = 1 << 26

_FILTERS: Final = (
    *("abs", "batch", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "join", "last"),
    *("length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select"),
    *("selectattr", "slice", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount"),
)
_LOOP: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"})


class TemplateError(Exception):
    """A template that cannot be used: what is wrong, and its file:line where that is known."""

    def __init__(self, message: str, where: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where


class Sources(BaseLoader):
    """The templates by name, each with its path and its text; None for one that is not UTF-8. `used` are those read."""

    def __init__(self, files: Mapping[str, tuple[str, str | None]]) -> None:
        self.files = files
        self.used: set[str] = set()

    def text(self, name: str) -> str:
        """A template's text. Raises TemplateNotFound, and TemplateError where it is not UTF-8."""
        if name not in self.files:
            raise TemplateNotFound(name)
        self.used.add(name)
        where, text = self.files[name]
        if text is None:
            raise TemplateError("the template is not UTF-8", where)
        return text

    def get_source(self, _environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Jinja's way to ask for a template."""
        return self.text(template), self.files[template][0], lambda: True


class _Plain(ImmutableSandboxedEnvironment):
    """A sandbox for plain data: what has no keys has no attributes, and only a template's own macros are called."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of a dict, a loop's counters, a macro of an imported template; anything else is undefined."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        if attribute.startswith("_"):
            return self.unsafe_undefined(obj, attribute)
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        if isinstance(obj, TemplateModule) and isinstance(found := vars(obj).get(attribute), Macro):
            return found
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An entry of a dict, a list or a text, never an attribute."""
        if type(obj) in (dict, list, tuple, str, Markup):
            with suppress(LookupError, TypeError):
                return obj[argument]
        if isinstance(argument, str):
            return self.getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """Macros, `caller`, `super`, recursive loops and the bounded `range`; what is undefined then says so itself."""
        return obj is safe_range or type(obj) in (Macro, BlockReference, LoopContext) or isinstance(obj, Undefined)


def draw(
    sources: Sources, template: str, values: Mapping[str, Any], *, markdown: bool, style: str | None = None
) -> str:
    """A template's text over `values`, escaped for Markdown or else for HTML; `style` goes in as it is.

    Raises TemplateError for a template that is broken.
    """
    environment = _environment(sources, markdown=markdown)
    # The style sheet is checked by whoever reads it.
    styled = {} if style is None else {"style": Markup(style)}  # noqa: S704
    try:
        return environment.get_template(template).render({**values, **styled})
    except TemplateError:
        raise
    except TemplateSyntaxError as error:
        place = error.filename or sources.files[template][0]
        raise TemplateError(f"broken template: {error.message}", f"{place}:{error.lineno}") from None
    except TemplateNotFound as error:
        raise TemplateError(f"there is no template {error.name!r}", _line_in(sources, error)) from None
    except Exception as error:
        where = _line_in(sources, error)
        if where is None:
            raise
        raise TemplateError(f"broken template: {error or type(error).__name__}", where) from None


def _environment(sources: Sources, *, markdown: bool) -> Environment:
    environment = _Plain(
        loader=sources,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_markdown_output if markdown else _html_output,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals = {"range": safe_range}
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    if markdown:
        environment.filters |= {"fenced": _fenced, "code": _code_span, "quoted": _quoted}
    return environment


def _line_in(sources: Sources, error: BaseException) -> str | None:
    """file:line of the innermost template frame that an exception passed through."""
    paths = {path for path, _ in sources.files.values()}
    where: str | None = None
    frame: TracebackType | None = error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename in paths:
            where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
        frame = frame.tb_next
    return where


def _html_output(value: object) -> object:
    return clean(value) if type(value) is str else value


# Jinja's autoescape leaves Markup alone, so text that is escaped for Markdown travels as Markup.


def _markdown_output(value: object) -> object:
    return value if isinstance(value, Markup) else Markup(escape_markdown(clean(str(value))))  # noqa: S704


def _fenced(text: str, language: str = "") -> Markup:
    fence = code_fence(text)
    return Markup(f"{fence}{language}\n{clean(text).rstrip()}\n{fence}")  # noqa: S704


def _code_span(text: str) -> Markup:
    """A code span; text that could end the span, or the table's cell around it, is escaped as prose instead."""
    cleaned = clean(text)
    if re.search(r"[`|\\\n]", cleaned) or not cleaned.strip():
        return Markup(escape_markdown(cleaned))  # noqa: S704
    return Markup(f"`{cleaned}`")  # noqa: S704


def _quoted(text: str) -> Markup:
    """A block quotation that keeps the lines."""
    lines = (escape_markdown(line.strip()) for line in clean(text).splitlines())
    return Markup("\n".join(f"> {line}".rstrip() for line in lines))  # noqa: S704


def limit(seconds: int) -> None:
    """Bound this process for good: its memory, its processor time, what it writes; it opens and starts nothing more."""
    with suppress(ImportError):  # not on Windows, where the time in which the caller waits is the only bound
        import resource

        for name, most in (
            ("RLIMIT_AS", MEMORY),
            ("RLIMIT_CPU", seconds),
            ("RLIMIT_FSIZE", OUTPUT),
            ("RLIMIT_CORE", 0),
            ("RLIMIT_NPROC", 0),
            ("RLIMIT_NOFILE", 0),
        ):
            with suppress(AttributeError, OSError, ValueError):
                resource.setrlimit(getattr(resource, name), (most, most))


def answer(pages: Iterable[Mapping[str, Any]], files: Mapping[str, tuple[str, str | None]]) -> dict[str, Any]:
    """What came of each page in turn, the templates that each used included; or what is wrong with one."""
    drawn = []
    try:
        for page in pages:
            sources = Sources(files)
            drawn.append({"text": draw(sources, **page), "used": sorted(sources.used)})
    except TemplateError as error:
        return {"error": error.message, "where": error.where}
    return {"drawn": drawn}


def warm() -> None:
    """Let Python and Jinja load what they load at first use and at the first error, while files can be opened."""
    page = {"template": "warm", "values": {}, "markdown": False}
    for text in ("{% macro m(x) %}{{ x | upper ~ 'é' }}{% endmacro %}{{ m('x') }}", "{{ none_such }}", "{% if %}"):
        answer([page], {"warm": ("warm", text)})


if __name__ == "__main__":
    request = json.load(sys.stdin.buffer)
    warm()
    limit(request["seconds"])
    json.dump(answer(request["pages"], request["files"]), sys.stdout)
