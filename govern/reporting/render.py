"""A view as HTML or Markdown: plain data for templates, and for somebody's own templates a process without the keys."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Final

from govern.digests import canonical_digest, sha256_bytes
from govern.errors import GovernError
from govern.records.base import Record
from govern.reporting.view import ReportView
from govern.shipped import shipped

SECONDS: Final = 30

_SECTIONS = "sections"
_HINT = "Correct the template, or remove it to use the shipped one."
_LARGEST, _MOST_FILES = 1 << 20, 1000


@dataclass(frozen=True)
class Rendered:
    """A rendered report. `template_sha256` covers every template file that was used.

    It is the SHA-256 of the RFC 8785 form of the list of [name, SHA-256 of the file], sorted by name.
    """

    data: bytes
    template_sha256: str


@dataclass(frozen=True)
class Page:
    """What is to be drawn: a template, what it sees, and for HTML the style sheets that go into it."""

    template: str
    values: Mapping[str, object]
    styles: tuple[str, ...] = ("report.css",)

    @property
    def markdown(self) -> bool:
        """Whether it is Markdown; otherwise it is HTML."""
        return self.template.endswith(".md.j2")


def render_html(view: ReportView, *, templates: Path | None = None) -> Rendered:
    """The report as one HTML file. Raises GovernError with file:line for a template that is broken."""
    return render([_report(view, ".html.j2", templates)], templates=templates)[0]


def render_markdown(view: ReportView, *, templates: Path | None = None) -> Rendered:
    """Markdown (GitHub's dialect) with the same facts. Raises GovernError with file:line for a broken template."""
    return render([_report(view, ".md.j2", templates)], templates=templates)[0]


def render_report(view: ReportView, *, templates: Path | None = None) -> tuple[Rendered, Rendered]:
    """Both forms of the report, HTML and Markdown.

    A file in `templates` stands in for the shipped one of the same name (`report.html.j2`, `report.css`, …), and each
    `sections/*.html.j2` and `sections/*.md.j2` there is a section of its own before "How to verify". Raises GovernError
    with file:line for a template that is broken.
    """
    html, markdown = render(
        [_report(view, suffix, templates) for suffix in (".html.j2", ".md.j2")], templates=templates
    )
    return html, markdown


def _report(view: ReportView, suffix: str, templates: Path | None) -> Page:
    return Page(f"report{suffix}", {"view": view, "own_sections": own_sections(templates, suffix)})


def render(pages: Sequence[Page], *, templates: Path | None = None) -> list[Rendered]:
    """Draw pages, each a self-contained file: no script, no outside resource, and in HTML a policy that forbids both.

    With a folder of `templates` they are drawn by a process of its own, which holds no key, opens no file, and is
    bounded in time, memory and output. Raises GovernError with file:line for a broken template.
    """
    from govern.reporting.sandbox import answer

    files = _read(templates)
    asked, styles = [], []
    for page in pages:
        style, used = (None, ()) if page.markdown else (_style(page, files), page.styles)
        digest = {} if style is None else {"style_hash": _integrity(style)}
        values = plain({**page.values, **digest})
        asked.append({"template": page.template, "values": values, "markdown": page.markdown, "style": style})
        styles.append(used)
    texts = {name: (str(file.path), file.text) for name, file in files.items()}
    said = answer(asked, texts) if templates is None else _answer_apart(asked, texts, templates)
    if "error" in said:
        raise GovernError(said["error"], where=said["where"], hint=_HINT)
    return [
        Rendered(
            drawn["text"].encode(),
            canonical_digest([[name, files[name].sha256] for name in sorted({*drawn["used"], *used})]),
        )
        for drawn, used in zip(said["drawn"], styles, strict=True)
    ]


def _answer_apart(asked: Sequence[object], texts: Mapping[str, object], templates: Path) -> dict[str, Any]:
    """What the sandbox answers as a program of its own, in an empty folder, with nothing of our environment."""
    request = json.dumps({"pages": asked, "files": texts, "seconds": SECONDS}).encode()
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    if os.name == "nt":
        env["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    hint = f"Look for loops and large values in the templates. They have {SECONDS} seconds, 1 GiB and 64 MiB of output."
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as drawn:
        given.write(request)
        given.seek(0)
        command = [sys.executable, "-P", "-s", "-m", "govern.reporting.sandbox"]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=given,
                stdout=drawn,
                stderr=subprocess.DEVNULL,
                env=env,
                cwd=folder,
                timeout=SECONDS + 5,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GovernError("the templates take too long", where=str(templates), hint=hint) from None
        drawn.seek(0)
        try:
            if done.returncode == 0:
                said: dict[str, Any] = json.load(drawn)
                return said
        except ValueError:
            pass
    raise GovernError("the templates use more than they may", where=str(templates), hint=hint)


def plain(value: object) -> Any:
    """A value as templates get it: str, int, float, bool, None, and lists and dicts of them.

    Raises TypeError for anything else: an object has methods, and a template would call them.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Record):
        names = (*type(value).model_fields, *type(value).model_computed_fields)
        return {name: plain(getattr(value, name)) for name in names}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, dict) and all(type(name) is str for name in value):
        return {name: plain(inner) for name, inner in value.items()}
    raise TypeError(f"a template gets plain data, and {type(value).__name__} is none")


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
class _File:
    """A template: its `text`, None where it is not UTF-8; `path` then names the line."""

    path: str
    sha256: str
    text: str | None


def _read(templates: Path | None) -> dict[str, _File]:
    """The shipped templates by name, and those of `templates` in their place."""
    return {name: file for folder in (shipped("templates"), templates) if folder for name, file in _files_of(folder)}


def _files_of(folder: Path) -> Iterator[tuple[str, _File]]:
    """Every template and style sheet in a folder and its subfolders; hidden ones and what leads out of it are none."""
    root, known = folder.resolve(), 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        known += len(names) + len(folders)
        if known > _MOST_FILES:
            raise GovernError("there are too many files here for a folder of templates", where=str(folder), hint=_HINT)
        for path in (Path(place, name) for name in sorted(names) if name.endswith((".j2", ".css"))):
            if not path.is_file() or not path.resolve().is_relative_to(root):
                continue
            with path.open("rb") as opened:
                data = opened.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise GovernError("a template has at most 1 MiB", where=str(path), hint=_HINT)
            yield path.relative_to(folder).as_posix(), _file(path, data)


def _file(path: Path, data: bytes) -> _File:
    try:
        return _File(str(path), sha256_bytes(data), data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _File(f"{path}:{line}", sha256_bytes(data), None)


def _style(page: Page, files: Mapping[str, _File]) -> str:
    texts = []
    for name in page.styles:
        text = files[name].text
        if text is None:
            raise GovernError("the template is not UTF-8", where=files[name].path, hint="Save it as UTF-8.")
        if "</" in text:
            raise GovernError("a style sheet cannot hold “</”", where=files[name].path)
        texts.append(text)
    return "\n".join(texts)


def _integrity(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
