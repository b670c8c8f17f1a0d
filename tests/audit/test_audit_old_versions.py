"""What past versions wrote is verified by today's code: their logs, and all that was given to outsiders."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from govern.audit import Log, fsck, move_log, open_checkpoint, parse_event, parse_vkey, read_export
from govern.audit.checkpoint import split_notes
from govern.audit.proof import verify_proof
from govern.evidence import verify_pack
from govern.signing import load_public

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name.startswith("v"))


@pytest.fixture(params=VERSIONS)
def old(request):
    """The folder of one version."""
    return FIXTURES / request.param


@pytest.fixture
def database(old, tmp_path):
    return Path(shutil.copy(old / "audit.db", tmp_path / "audit.db"))


def verifier_of(old):
    return parse_vkey((old / "log.vkey").read_text().strip())


def test_there_are_some():
    assert VERSIONS


def test_an_old_log_holds_and_goes_on(old, database):
    assert list(fsck(database)) == []
    checkpoint = open_checkpoint((old / "checkpoint").read_bytes(), verifier_of(old))
    with Log.open(database, create=False) as log:
        head = log.verify(against=checkpoint)
        assert head.size > checkpoint.size > 10
        for stored in log.events():
            fields = json.loads(stored.body)
            # An event names the version of its own form.
            assert fields["format_version"] == int(old.name[1:])
        assert log.append("apply.started").event.seq == head.size
        log.verify(against=checkpoint)


def test_an_old_log_names_its_schema_and_its_algorithms(old, database):
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (int(old.name[1:]),)
    with Log.open(database) as log:
        algorithms = log.event(0).event.parameters["algorithms"]
    assert algorithms == {"body": "RFC 8785", "leaf": "SHA-256", "tree": "RFC 9162"}


def test_an_old_export_and_an_old_witness_hold(old):
    series = [open_checkpoint(note, verifier_of(old)) for note in split_notes((old / "witness").read_bytes())]
    assert len(series) == 2
    with (old / "log.jsonl").open("rb") as stream:
        assert read_export(stream, against=series).size == series[1].size


def test_an_old_proof_holds(old):
    body = (old / "event.json").read_bytes()
    checkpoint = verify_proof((old / "event.tlog-proof").read_bytes(), body, verifier_of(old))
    assert parse_event(body).seq < checkpoint.size


def test_an_old_pack_holds(old):
    pack = old / "pack"
    checked = verify_pack(
        pack,
        now="2036-11-24T00:00:00Z",
        root=load_public((pack / "root.pub").read_bytes()),
        log_key=parse_vkey((pack / "log.vkey").read_text().strip()),
    )
    assert checked.standing
    assert (checked.person, checked.standing.state) == ("Ian Issuer", "approved")
    assert [review.act.reviewer.person for review in checked.reviews] == ["Ada Example", "Bob Example"]


@pytest.mark.postgres
def test_an_old_log_moves(database, postgres_logs, tmp_path):
    postgres_logs._empty()
    with Log.open(database) as log:
        head = log.verify()
    assert move_log(database, postgres_logs._scratch) == head
