"""Models for every room's tests: tiny random ones, and the real SmolLM2 where it can be had."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from postgres_server import PostgresServer, find_binaries
from tiny_models import save_tiny_model

from govern.errors import SourceError
from govern.models import reloading
from govern.sources import resolve_model


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
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function from a kind ("llama", "mistral", "qwen2", "gemma2", "gemma3") to a model folder, made once."""
    made: dict[tuple[str, bool], Path] = {}

    def folder(kind: str, *, shards: bool = False) -> Path:
        if (kind, shards) not in made:
            made[kind, shards] = save_tiny_model(kind, tmp_path_factory.mktemp(f"tiny-{kind}") / "model", shards=shards)
        return made[kind, shards]

    return folder


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
