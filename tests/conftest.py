"""Models for every room's tests: tiny random ones, and the real SmolLM2 where it can be had."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock
from jinja2 import Environment
from postgres_server import PostgresServer, find_binaries
from tiny_models import save_tiny_model

from govern.cli import main
from govern.errors import SourceError
from govern.models import reloading
from govern.sources import resolve_model

BuildOnce = Callable[[str, Callable[[Path], object]], Path]
ROOT = Path(__file__).parents[1]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what the imports made out of garbage collection, which a sweep asks for before every point."""
    gc.collect()
    gc.freeze()


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_CHECKOUT] = _new_files()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test left a file in the checkout."""
    before = session.config.stash.get(_CHECKOUT, None)
    if before is not None and (left := _new_files() - before):
        sys.stderr.write(f"\ntests left files in the checkout: {', '.join(sorted(left))}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_CHECKOUT = pytest.StashKey[set[str]]()


def _new_files() -> set[str]:
    """What git neither knows nor ignores, nothing where this is no checkout."""
    done = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return set(done.stdout.splitlines())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test where GOVERN_REQUIRE names one of its markers: there, what it needs has to be present."""
    report = yield
    required = os.environ.get("GOVERN_REQUIRE", "").split(",")
    if report.skipped and any(item.get_closest_marker(name) for name in required if name):
        report.outcome = "failed"
        report.longrepr = f"skipped, and required here (GOVERN_REQUIRE): {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _reloaded_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load what an export wrote in this process: one of its own takes seconds to import its libraries.

    Tests of that process itself carry the marker `fresh_process`.
    """
    if not request.node.get_closest_marker("fresh_process"):
        monkeypatch.setattr("govern.models.reloading.fresh", reloading.plain)


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """A function from a name and a way to fill a folder to that folder, filled once for all workers of a run.

    A test that changes something in it takes a copy.
    """
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    shared.mkdir(exist_ok=True)

    def build(name: str, fill: Callable[[Path], object]) -> Path:
        folder, built = shared / name, shared / f"{name}.built"
        with FileLock(shared / f"{name}.lock"):
            if not built.exists():
                folder.mkdir()
                fill(folder)
                built.touch()
        return folder

    return build


@pytest.fixture(scope="session")
def tiny_checkpoint(build_once: BuildOnce) -> Callable[..., Path]:
    """A function from a kind ("llama", "mistral", "qwen2", "gemma2", "gemma3") to a model folder, made once."""

    def folder(kind: str, *, shards: bool = False) -> Path:
        name = f"tiny-{kind}-shards" if shards else f"tiny-{kind}"
        return build_once(name, lambda place: save_tiny_model(kind, place, shards=shards))

    return folder


@pytest.fixture(autouse=True, scope="session")
def compiled_templates() -> Iterator[None]:
    """A template is compiled once a process: every report compiles the shipped ones anew."""
    compiled: dict[tuple[object, ...], object] = {}
    compile_template = Environment.compile

    def compile_once(self: Environment, source: str, name: str | None = None, filename: str | None = None) -> object:
        output = getattr(self.finalize, "__code__", None)
        key = (type(self), output, self.autoescape, tuple(self.filters), tuple(self.globals), source, name, filename)
        if key not in compiled:
            compiled[key] = compile_template(self, source, name, filename)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
        yield


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The `govern` command in this process, all that it prints caught: a process of its own would load torch again."""

    def govern(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["govern", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capfd.readouterr())

    return govern


@pytest.fixture(scope="session")
def tiny_llama(tiny_checkpoint: Callable[..., Path]) -> Path:
    """The folder of a random Llama: four blocks, hidden size 32, bfloat16, one safetensors file."""
    return tiny_checkpoint("llama")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct, from the user's cache or fetched into it."""
    try:
        return resolve_model("builtin:smollm2-135m-instruct", revision=None, base=Path()).path
    except SourceError as error:
        pytest.skip(f"SmolLM2 cannot be fetched: {error.message}")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[Callable[[str], str]]:
    """A function from a database's name to its URL, on the server of GOVERN_TEST_POSTGRES or one of our own.

    `{}` in GOVERN_TEST_POSTGRES stands for the database. Its role may make databases.
    """
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'govern-unlearning[postgres]'")
    if form := os.environ.get("GOVERN_TEST_POSTGRES"):
        yield form.format
        return
    server = _own_server()
    yield server.url
    server.remove()


@pytest.fixture(scope="session")
def new_postgres(postgres_url: Callable[[str], str]) -> Iterator[Callable[[], str]]:
    """A function that makes a new, empty database and returns its URL."""
    import psycopg

    made: list[str] = []
    with psycopg.connect(postgres_url("postgres"), autocommit=True) as connection:

        def make() -> str:
            made.append(f"govern_test_{os.getpid()}_{len(made)}")
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE template0")
            return postgres_url(made[-1])

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_postgres() -> Iterator[Callable[[Path | None], PostgresServer]]:
    """A function that makes a server, in a folder where one is given, for a test that does it harm."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'govern-unlearning[postgres]'")
    made: list[PostgresServer] = []

    def make(parent: Path | None) -> PostgresServer:
        made.append(_own_server(parent))
        return made[-1]

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def own_postgres(make_postgres: Callable[[Path | None], PostgresServer]) -> PostgresServer:
    """A server that a test may kill."""
    return make_postgres(None)


def _own_server(parent: Path | None = None) -> PostgresServer:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL: its initdb and pg_ctl, or a server's URL in GOVERN_TEST_POSTGRES")
    return PostgresServer.make(binaries, parent)
