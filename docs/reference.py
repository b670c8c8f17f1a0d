"""The pages of the site that are written by the code: commands, policies, Python, JSON. MkDocs runs this as a hook.

It also makes links work that lead out of `docs/`: a Markdown file elsewhere in the project becomes a page of the site,
and of any other file the name is left.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.core import TyperArgument
from typer.main import get_command

from govern.cli import app
from govern.policy import json_schema
from govern.reporting.exports.schemas import SCHEMAS, schema

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<!\!)\[([^\]]*)\]\(([^)\s]+)\)")
_OUTSIDE = "project"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions, and every page that the navigation forgets."""
    docs = Path(config.docs_dir)
    navigation = config.nav or []
    named = set(re.findall(r"[\w/]+\.md", json.dumps(navigation)))
    decisions = sorted(path.relative_to(docs).as_posix() for path in (docs / "decisions").glob("*.md"))
    others = sorted(
        name
        for path in docs.rglob("*.md")
        if (name := path.relative_to(docs).as_posix()) not in named and name not in decisions
    )
    for section in navigation:
        if "Decisions" in section:
            section["Decisions"] = decisions
        if "Explanation" in section:
            section["Explanation"] += others
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the project's own Markdown files that pages link to."""
    pages = {
        "reference/commands.md": commands(),
        "reference/policies.md": policies(),
        "reference/python.md": PYTHON,
        "reference/json.md": our_json(),
    }
    waiting = [file.src_uri for file in files.documentation_pages()]
    texts = {name: (Path(config.docs_dir) / name).read_text() for name in waiting}
    while waiting:
        name = waiting.pop()
        for target in _linked(_place(name), texts[name]):
            page = f"{_OUTSIDE}/{target}"
            if target.endswith(".md") and not target.startswith("docs/") and page not in texts:
                texts[page] = (ROOT / target).read_text()
                pages[page] = texts[page]
                waiting.append(page)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Turn links within the project into links within the site."""
    here = page.file.src_uri

    def replace(found: re.Match[str]) -> str:
        text, link = found[1], found[2]
        target, mark, anchor = link.partition("#")
        if not target or ":" in target or here.startswith("reference/"):
            return found[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(_place(here)), target))
        inside = place.removeprefix("docs/") if place.startswith("docs/") else f"{_OUTSIDE}/{place}"
        if files.get_file_from_path(inside) is None and not place.startswith("docs/"):
            return text
        return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(here) or '.')}{mark}{anchor})"

    return _LINK.sub(replace, markdown)


def _place(name: str) -> str:
    """Where a page of the site lies in the project."""
    return name.removeprefix(f"{_OUTSIDE}/") if name.startswith(f"{_OUTSIDE}/") else f"docs/{name}"


def _linked(place: str, text: str) -> Iterator[str]:
    for _, link in _LINK.findall(text):
        target = link.partition("#")[0]
        if target and ":" not in target:
            found = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
            if (ROOT / found).is_file():
                yield found


def commands() -> str:
    """Every command, its arguments and its options, as `--help` knows them."""
    parts = [
        "# Commands\n\nEvery command has `--json` (one object on stdout, prose on stderr) and `--no-input`, and works "
        "without a terminal.\n",
        "| exit code | meaning |\n|---|---|\n| 0 | ok |\n| 1 | error |\n| 2 | usage, or an invalid policy |\n"
        "| 3 | a gate failed |\n| 4 | integrity failure |\n| 5 | inconclusive |\n| 6 | interrupted, resumable |\n",
    ]

    def walk(command: Any, name: str) -> None:
        if hasattr(command, "commands"):
            if name != "govern":
                parts.append(f"## {name}\n\n{command.help}\n")
            for child, inner in command.commands.items():
                walk(inner, f"{name} {child}")
            return
        level = "##" if name.count(" ") == 1 else "###"
        help_text = (command.help or "").split("\f")[0]
        shown = [parameter for parameter in command.params if not parameter.hidden]
        usage = " ".join([name, "[OPTIONS]", *(_metavar(each) for each in shown if _is_argument(each))])
        parts.append(f"{level} {name}\n\n{help_text}\n\n```text\n{usage}\n```\n")
        parts.append("| argument or option | meaning |\n|---|---|\n" + "\n".join(map(_option, shown)) + "\n")

    walk(get_command(app), "govern")
    return "\n".join(parts)


def _option(parameter: Any) -> str:
    named = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if _is_argument(parameter):
        name = _metavar(parameter)
    else:
        name = named if parameter.is_flag else f"{named} {_metavar(parameter)}"
    notes = [parameter.help or ""]
    if parameter.required and not _is_argument(parameter):
        notes.append("Required.")
    if parameter.envvar:
        notes.append(f"Environment: `{parameter.envvar}`.")
    if parameter.default not in (None, False, ()) and not callable(parameter.default):
        notes.append(f"Default: `{getattr(parameter.default, 'value', parameter.default)}`.")
    return f"| {_cell(f'`{name}`')} | {_cell(' '.join(filter(None, notes)))} |"


def _is_argument(parameter: Any) -> bool:
    return isinstance(parameter, TyperArgument)


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    if _is_argument(parameter):
        return str(parameter.name).upper()
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "[" + "|".join(str(choice.value) for choice in kind) + "]"
    return {Path: "PATH", str: "TEXT", int: "N"}.get(kind, "VALUE")


def policies() -> str:
    """Every field of a policy, from its JSON Schema."""
    known = json_schema()
    parts = [
        "# Policies\n\nA policy is YAML. Unknown keys are errors, and every error names file:line:column and what was "
        "expected (`govern policy validate`). `govern policy schema` prints the JSON Schema that editors use.\n",
        f"## Policy\n\n{known['description']}\n\n{_fields(known)}",
    ]
    parts += [
        f"## {name}\n\n{found.get('description', '')}\n\n{_fields(found)}"
        for name, found in known["$defs"].items()
        if found.get("properties")
    ]
    return "\n".join(parts)


def our_json() -> str:
    """The fields of our own JSON."""
    parts = [
        "# JSON\n\n`govern verify --json` prints a verdict, and `govern report export --format json` a whole report: "
        "the document that the `data-fact` of every value on the report's page points into (RFC 6901). "
        "`govern report schema report` and `govern report schema verdict` print the JSON Schemas; they also lie in "
        "the project's folder `docs/schemas`. Keys are sorted and numbers written as RFC 8785 says.\n"
    ]
    for name in SCHEMAS:
        known = schema(name)
        parts.append(f"## {name.capitalize()}\n\n{known['description']}\n\n{_fields(known, name)}")
        parts += [
            f"### {name.capitalize()}: {part}\n\n{found.get('description', '')}\n\n{_fields(found, name)}"
            for part, found in known["$defs"].items()
            if found.get("properties")
        ]
    return "\n".join(parts)


def _fields(known: dict[str, Any], prefix: str = "") -> str:
    rows = []
    for name, field in known["properties"].items():
        needed = name in known.get("required", ())
        default = "" if needed else f" Default: `{json.dumps(field['default'])}`." if "default" in field else ""
        rows.append(
            f"| `{name}` | {_cell(_type(field, prefix))} | {'yes' if needed else 'no'} "
            f"| {_cell(field.get('description', '') + default)} |"
        )
    return "| field | type | required | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _type(field: dict[str, Any], prefix: str) -> str:
    """A field's type in words, with links to the parts of the schema."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        if name == "JsonValue":
            return "any JSON value"
        anchor = f"{prefix}-{name}" if prefix else name
        return f"[{name}](#{anchor.lower()})"
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    for joined in ("anyOf", "oneOf"):
        if joined in field:
            return " or ".join(_type(option, prefix) for option in field[joined])
    if field.get("type") == "array":
        items = field.get("items", {})
        return f"list of {_type(items, prefix)}" if items else "list"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map to {_type(field['additionalProperties'], prefix)}"
    return str(field.get("type", "any"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PYTHON = """\
# Python

::: govern
    options:
      members: [load_policy, plan, apply, verify, render]
"""
