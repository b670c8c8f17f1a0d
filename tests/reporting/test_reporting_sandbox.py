"""A stranger's templates: what they may say, what they cannot reach, and the process without keys that they run in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from test_reporting_site import a_site

from govern.errors import GovernError
from govern.reporting import render as rendering
from govern.reporting.render import Page, plain, render_html, render_markdown
from govern.reporting.sandbox import answer
from govern.reporting.site import render_site
from govern.reporting.view import ReportView


class Planted:
    """Unpickled, this leaves a file behind."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch planted",)


PICKLE = pickle.dumps(Planted(), protocol=0).decode().replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
ESCAPES = [
    f"{{{{ view.parse_raw('{PICKLE}', proto='pickle', allow_pickle=true) }}}}",
    "{{ view.model_validate({}) }}",
    "{{ view.model_fields }}",
    "{{ view.copy() }}",
    "{{ view.items() }}",
    "{{ view.__class__.__mro__ }}",
    "{{ view['__class__'] }}",
    "{{ view | attr('__class__') }}",
    "{{ [view] | map(attribute='__class__') | join }}",
    "{{ ''.__class__ }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ '{0.__class__}'.format(view) }}",
    "{{ '{0.__class__}' | format(view) }}",
    "{{ ('{0.__class__}' | escape).format(view) }}",
    "{{ 'x'.join(['a']) }}",
    "{{ style.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ lipsum() }}",
    "{{ cycler('a').next }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner('a').sep }}",
    "{{ namespace(a=1).a }}",
    "{{ dict(a=1) }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.environment }}",
    "{{ loop.__class__ }}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% for x in [1] %}{{ loop.changed }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{{ varargs.__class__ }}{% endmacro %}{{ m(1) }}",
    "{% import 'report_parts.html.j2' as parts %}{{ parts._body_stream }}",
    "{% import 'report_parts.html.j2' as parts %}{{ parts.__init__ }}",
    "{% import 'report_parts.html.j2' as parts %}{{ parts.make_module }}",
    "{% import '../outside.j2' as outside %}",
    "{% import '/etc/passwd' as outside %}",
    "{% include ['../outside.j2', '/etc/passwd'] %}",
    "{% extends '../outside.j2' %}",
    "{{ range.__self__ }}",
    "{{ range(10 ** 9) | list }}",
    "{{ view.gates.append(1) }}",
    "{{ undefined_name.__init__.__globals__ }}",
    "{{ view | safe }}",
    "{{ view | tojson }}",
    "{{ view | pprint }}",
]


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside.j2").write_text("outside")
    folder = tmp_path / "templates"
    (folder / "sections").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_reaches_nothing_but_its_data(view: ReportView, source: str) -> None:
    """In this process, where an escape would show; the next tests ask the process of its own."""
    files = {**{name: (file.path, file.text) for name, file in rendering._read(None).items()}, "x": ("x", source)}
    page = {"template": "x", "values": {"view": plain(view)}, "markdown": False, "style": ""}
    said = answer([page], files)
    assert said.keys() == {"error", "where"}, said
    assert not Path("planted").exists()


@pytest.mark.parametrize("name", ["report.html.j2", "sections/20-run.html.j2"])
def test_a_pickle_in_a_template_runs_nothing(view: ReportView, templates: Path, name: str) -> None:
    (templates / name).write_text(ESCAPES[0])
    with pytest.raises(GovernError, match="parse_raw") as raised:
        render_html(view, templates=templates)
    assert raised.value.where == f"{templates / name}:1"
    assert not list(templates.parent.rglob("planted"))


def test_a_template_of_the_site_runs_nothing(templates: Path) -> None:
    (templates / "site_run.html.j2").write_text(ESCAPES[0].replace("view.", "run."))
    with pytest.raises(GovernError, match="parse_raw"):
        render_site(*a_site(), templates=templates)


GREEDY = [
    "{% for a in range(90000) %}" * 3 + "{% endfor %}" * 3,
    "{{ 10 ** (10 ** 10) }}",
    "{{ 'x' * 10 ** 12 }}",
    "{{ '%1000000000000d' % 1 }}",
    "{% set a = 'x' * 10 ** 8 %}{{ a }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for x in [[[]]] recursive %}{{ loop([x]) }}{% endfor %}",
    "{{ " + "(" * 5000 + ")" * 5000 + " }}",
]


@pytest.mark.parametrize("source", GREEDY, ids=range(len(GREEDY)))
def test_a_template_is_bounded(view: ReportView, templates: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 1)
    (templates / "report.md.j2").write_text(source)
    with pytest.raises(GovernError) as raised:
        render_markdown(view, templates=templates)
    assert raised.value.hint


def test_the_process_of_templates_has_no_key_no_password_and_no_file(
    templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs there, were it to escape, finds neither our environment nor open files, and can open none."""
    monkeypatch.setenv("GOVERN_KEY_PASSWORD", "secret")
    program = templates.parent / "spy.py"
    program.write_text(
        "import json, os, sys\n"
        "from govern.reporting.sandbox import limit, warm\n"
        "warm(), limit(5)\n"
        "found = [name for name in os.environ if 'GOVERN' in name]\n"
        "for act in (lambda: open('/proc/self/environ'), lambda: os.pipe(), lambda: os.listdir('/')):\n"
        "    try:\n        act(); found.append('opened')\n    except OSError:\n        pass\n"
        "sys.stdout.write(json.dumps({'error': json.dumps(found), 'where': None}))\n"
    )
    run = subprocess.run

    def spied(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        assert command[-2:] == ["-m", "govern.reporting.sandbox"]
        return run([*command[:-2], str(program)], **options)

    monkeypatch.setattr(subprocess, "run", spied)
    with pytest.raises(GovernError) as raised:
        rendering.render([Page("report.md.j2", {})], templates=templates)
    assert raised.value.message == "[]"


def test_templates_load_nothing_that_could_sign() -> None:
    code = "import sys, govern.reporting.sandbox; print(*sorted(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"pydantic", "cryptography", "sqlite3", "sqlalchemy", "yaml", "torch"} & set(loaded)


def test_templates_get_plain_data_alone(view: ReportView) -> None:
    def kinds(value: object) -> set[type]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return {type(value)}.union(*map(kinds, inner))

    assert kinds(plain(view)) <= {str, int, float, bool, type(None), list, dict}
    for rich in (object(), Path(), b"x", {1: "x"}, {"x": {2}}, Markup("x"), [print], ReportView):
        with pytest.raises(TypeError, match="plain data"):
            plain(rich)


def test_own_macros_loops_and_imports_still_work(view: ReportView, templates: Path) -> None:
    (templates / "parts.j2").write_text("{% macro twice(x) %}{{ x }}{{ x }}{{ caller() }}{% endmacro %}")
    (templates / "sections" / "20-own.html.j2").write_text(
        "{% import 'parts.j2' as parts %}{% call parts.twice('<') %}!{% endcall %}"
        "{% for gate in view.gates %}{{ loop.index }}/{{ loop.length }}:{{ gate.task.text | upper }} {% endfor %}"
        "{{ view.summary | selectattr('kind', 'equalto', 'number') | list | length }}"
        "{% for n in range(3) recursive %}{{ n }}{% endfor %}"
    )
    page = render_html(view, templates=templates).data.decode()
    assert "&lt;&lt;!1/3:" in page
    assert "012</section>" in page.replace("\n", "")


def test_shipped_templates_say_the_same_in_either_process(view: ReportView, templates: Path) -> None:
    assert render_html(view, templates=templates) == render_html(view)
    assert render_markdown(view, templates=templates) == render_markdown(view)
    assert render_site(*a_site(), templates=templates) == render_site(*a_site())


@pytest.mark.parametrize(
    ("name", "size", "said"), [("big.j2", (1 << 20) + 1, "1 MiB"), ("many", 1001, "too many files")]
)
def test_a_folder_of_templates_is_bounded(view: ReportView, templates: Path, name: str, size: int, said: str) -> None:
    if name == "many":
        for number in range(size):
            (templates / f"{number}.txt").touch()
    else:
        (templates / name).write_text("x" * size)
    with pytest.raises(GovernError, match=said):
        render_markdown(view, templates=templates)


def test_pipes_and_links_out_of_the_folder_are_no_templates(view: ReportView, templates: Path) -> None:
    os.mkfifo(templates / "report.md.j2")
    (templates / "report.css").symlink_to(templates.parent / "outside.j2")
    assert render_markdown(view, templates=templates) == render_markdown(view)
    assert render_html(view, templates=templates) == render_html(view)
