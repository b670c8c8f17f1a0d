"""A view as HTML or Markdown. Escaping is on for both, and a template cannot reach anything but the view."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from govern.digests import canonical_digest, sha256_bytes
from govern.errors import GovernError
from govern.reporting.text import clean, code_fence, escape_markdown
from govern.reporting.view import ReportView
from govern.shipped import shipped

_STYLE_SHEET = "report.css"
_SECTIONS = "sections"


@dataclass(frozen=True)
class Rendered:
    """A rendered report. `template_sha256` covers every template file that was used.

    It is the SHA-256 of the RFC 8785 form of the list of [name, SHA-256 of the file], sorted by name.
    """

    data: bytes
    template_sha256: str


def render_html(view: ReportView, *, templates: Path | None = None) -> Rendered:
    """The report as one HTML file.

    A file in `templates` stands in for the shipped one of the same name (`report.html.j2`, `report.css`, …), and each
    `sections/*.html.j2` there is a section of its own before "How to verify". Raises GovernError with file:line for a
    template that is broken.
    """
    own = own_sections(templates, ".html.j2")
    return render_page("report.html.j2", templates=templates, view=view, own_sections=own)


def render_page(
    template: str, *, templates: Path | None = None, styles: Sequence[str] = (_STYLE_SHEET,), **values: object
) -> Rendered:
    """One self-contained HTML file: no script, no outside resource, and a policy that forbids both.

    The style sheets `styles` go into it, and `values` are what the template sees.
    """
    files = _TemplateFiles(templates)
    environment = _environment(files, finalize=lambda value: clean(value) if type(value) is str else value)
    style = "\n".join(map(files.text, styles))
    for name in styles:
        if "</" in files.text(name):
            raise GovernError("a style sheet cannot hold “</”", where=str(files.used[name].path))
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _render(
        environment,
        files,
        template,
        style=Markup(style),  # noqa: S704
        style_hash=style_hash,
        **values,
    )


def render_markdown(view: ReportView, *, templates: Path | None = None) -> Rendered:
    """Markdown (GitHub's dialect) with the same facts, and each `sections/*.md.j2` of `templates`.

    Raises GovernError with file:line for a broken template.
    """
    files = _TemplateFiles(templates)
    environment = _environment(files, finalize=_markdown_output)
    environment.filters["fenced"] = _fenced
    environment.filters["code"] = _code_span
    environment.filters["quoted"] = _quoted
    return _render(environment, files, "report.md.j2", view=view, own_sections=own_sections(templates, ".md.j2"))


@dataclass(frozen=True)
class OwnSection:
    """A section that an organisation adds: `sections/20-data-retention.html.j2` is headed "Data retention"."""

    template: str
    id: str
    title: str


def own_sections(templates: Path | None, suffix: str) -> tuple[OwnSection, ...]:
    """The sections in a folder of templates, by file name; leading digits only order them."""
    found = sorted((templates / _SECTIONS).glob(f"*{suffix}")) if templates else []
    sections = []
    for path in found:
        words = re.sub(r"^[\d\W_]+", "", path.name.removesuffix(suffix)).replace("_", "-").strip("-")
        sections.append(
            OwnSection(
                template=f"{_SECTIONS}/{path.name}",
                id=f"own-{re.sub(r'[^a-z0-9]+', '-', words.lower())}",
                title=words.replace("-", " ").capitalize() or path.name,
            )
        )
    return tuple(sections)


@dataclass(frozen=True)
class _TemplateFile:
    path: Path
    sha256: str


class _TemplateFiles(BaseLoader):
    """Reads templates from an override folder first, then from the shipped one, and remembers what it read."""

    def __init__(self, override: Path | None) -> None:
        self.folders = (*([override] if override else []), shipped("templates"))
        self.used: dict[str, _TemplateFile] = {}

    def text(self, name: str) -> str:
        """A file's text. Raises TemplateNotFound, and GovernError where it is not UTF-8."""
        for folder in self.folders:
            path = folder / name
            if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
                data = path.read_bytes()
                self.used[name] = _TemplateFile(path, sha256_bytes(data))
                try:
                    return data.decode()
                except UnicodeDecodeError as error:
                    line = data.count(b"\n", 0, error.start) + 1
                    raise GovernError(
                        "the template is not UTF-8", where=f"{path}:{line}", hint="Save it as UTF-8."
                    ) from None
        raise TemplateNotFound(name)

    def get_source(self, _environment: Environment, template: str) -> tuple[str, str, None]:
        """Jinja's way to ask for a template."""
        source = self.text(template)
        return source, str(self.used[template].path), None

    @property
    def sha256(self) -> str:
        """The digest of all templates used so far."""
        return canonical_digest([[name, self.used[name].sha256] for name in sorted(self.used)])


def _environment(files: _TemplateFiles, *, finalize: Any) -> Environment:
    return ImmutableSandboxedEnvironment(
        loader=files,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(environment: Environment, files: _TemplateFiles, name: str, /, **values: object) -> Rendered:
    hint = "Correct the template, or remove it to use the shipped one."
    try:
        text = environment.get_template(name).render(**values)
    except GovernError:
        raise
    except TemplateSyntaxError as error:
        place = f"{error.filename or files.used[name].path}:{error.lineno}"
        raise GovernError(f"broken template: {error.message}", where=place, hint=hint) from None
    except TemplateNotFound as error:
        raise GovernError(f"there is no template {error.name!r}", where=_line_in(files, error), hint=hint) from None
    except Exception as error:
        where = _line_in(files, error)
        if where is None:
            raise
        raise GovernError(f"broken template: {error}", where=where, hint=hint) from None
    return Rendered(text.encode(), files.sha256)


def _line_in(files: _TemplateFiles, error: Exception) -> str | None:
    """file:line of the innermost template frame that an exception passed through."""
    paths = {str(file.path) for file in files.used.values()}
    where: str | None = None
    frame: TracebackType | None = error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename in paths:
            where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
        frame = frame.tb_next
    return where


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
