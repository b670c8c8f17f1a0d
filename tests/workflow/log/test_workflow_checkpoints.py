"""A log that was cut, forked or replaced is found by whoever kept a checkpoint, and everything they were given."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_log import PASSWORD, cut, grow, key_of, verifier_of
from unguarded import unguarded

from govern.audit import (
    Checkpoint,
    Head,
    Log,
    LogVerifier,
    Stored,
    format_line,
    format_proof,
    sign_checkpoint,
)
from govern.audit.merkle import leaf_hash, node_hash
from govern.digests import canonical_json
from govern.errors import GovernError, IntegrityError, UsageError
from govern.records import Event
from govern.workflow.log.checkpoints import read_series, sign_head
from govern.workflow.log.export import check_export, export_log
from govern.workflow.log.proofs import check_proof, prove
from govern.workflow.log.witness import witness
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.audit import audit, find_damage


@pytest.fixture
def kept(logged: Path, tmp_path: Path) -> Path:
    """The checkpoint, kept where the log's holder does not reach; the workspace has no trace of it."""
    (logged / "checkpoints" / "7").rename(tmp_path / "kept")
    return tmp_path / "kept"


def test_a_key_is_named_by_the_log_and_never_overwritten(logged: Path) -> None:
    with Log.open(logged / "audit.db") as log:
        assert log.event(1).event.parameters == {"algorithm": "Ed25519", "vkey": verifier_of(logged).vkey}
    assert key_of(logged).public == verifier_of(logged).key
    assert log_key_path(logged).stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="never overwritten"):
        make_log_key(logged, log_key_path(logged), PASSWORD)


def test_a_checkpoint_is_no_event_and_the_same_one_the_second_time(logged: Path, tmp_path: Path) -> None:
    first = sign_head(logged, key=key_of(logged))
    again = sign_head(logged, key=key_of(logged), out=tmp_path / "elsewhere")
    assert (first, first.checkpoint.size) == (again, 7)
    assert (tmp_path / "elsewhere").read_bytes() == first.path.read_bytes() == first.note
    assert first.path == logged / "checkpoints" / "7"
    with pytest.raises(UsageError, match="never written over"):
        sign_head(logged, key=key_of(logged), out=tmp_path / "elsewhere")


def test_a_key_that_the_log_does_not_name_signs_nothing(logged: Path, tmp_path: Path) -> None:
    other = make_log_key(tmp_path / "other", log_key_path(tmp_path / "other"), PASSWORD)
    with pytest.raises(UsageError, match="does not name this key"):
        sign_head(logged, key=other)


def test_a_log_that_went_on_holds(logged: Path, kept: Path) -> None:
    grow(logged)
    sign_head(logged, key=key_of(logged))
    audited = audit(logged, against=kept, verifier=verifier_of(logged))
    assert (audited.head.size, audited.checkpoints, audited.against and audited.against.size) == (12, 1, 7)


def test_a_cut_end_is_found_from_elsewhere_alone(logged: Path, kept: Path) -> None:
    cut(logged, 6)
    assert audit(logged).head.size == 6
    assert find_damage(logged) == []
    with pytest.raises(IntegrityError, match="cut off") as refused:
        audit(logged, against=kept)
    assert str(kept) in str(refused.value.where)


def test_a_cut_end_is_found_by_the_workspace_s_own_checkpoint(logged: Path) -> None:
    cut(logged, 6)
    with pytest.raises(IntegrityError, match="cut off") as refused:
        audit(logged)
    assert "checkpoints/7" in str(refused.value.where)
    assert [damage.where for damage in find_damage(logged)] == ["checkpoints/7"]
    with pytest.raises(IntegrityError, match="cut off"):
        sign_head(logged, key=key_of(logged))


@pytest.mark.parametrize("regrown", [1, 2, 9])
def test_a_fork_is_found_whether_shorter_or_longer(logged: Path, kept: Path, regrown: int) -> None:
    cut(logged, 6)
    grow(logged, regrown)
    audit(logged)
    with pytest.raises(IntegrityError, match=r"rewritten|different roots"):
        audit(logged, against=kept)


def test_another_log_under_the_same_key_is_found(logged: Path, kept: Path, tmp_path: Path) -> None:
    """The holder of the key signs for a fresh log and replays the old checkpoint, or the other way round."""
    other = tmp_path / "other"
    make_log_key(other, log_key_path(other), PASSWORD)
    grow(other)
    with pytest.raises(IntegrityError, match="another log"):
        audit(other, against=kept)
    with pytest.raises(IntegrityError, match="another log"):
        audit(other, against=kept, verifier=verifier_of(logged))
    sign_head(other, key=key_of(other), out=tmp_path / "replayed")
    with pytest.raises(IntegrityError, match="another log"):
        audit(logged, against=tmp_path / "replayed")
    shutil.copy(tmp_path / "replayed", logged / "checkpoints" / "7")
    with pytest.raises(IntegrityError, match="another log"):
        audit(logged)


def test_a_key_that_was_slipped_into_the_log_does_not_count_for_who_knows_the_real_one(
    logged: Path, kept: Path, tmp_path: Path
) -> None:
    """The database alone was taken: the thief cuts the log, names a key of their own in it, and signs."""
    known = verifier_of(logged)
    cut(logged, 5)
    thief = make_log_key(logged, logged / "keys" / "thief.pem", PASSWORD)
    grow(logged)
    signed = sign_head(logged, key=thief)
    with pytest.raises(IntegrityError, match="did not sign"):
        audit(logged, against=signed.path, verifier=known)
    with pytest.raises(IntegrityError):
        audit(logged, against=kept)
    with pytest.raises(IntegrityError):
        witness(logged, kept)
    prove(logged, 3, tmp_path / "event.proof")
    with pytest.raises(IntegrityError, match="did not sign"):
        check_proof(tmp_path / "event.proof", entry=tmp_path / "event.json", verifier=known)


def test_a_checkpoint_under_another_name_is_found(logged: Path) -> None:
    (logged / "checkpoints" / "7").rename(logged / "checkpoints" / "6")
    with pytest.raises(IntegrityError, match="another name"):
        audit(logged)


def test_a_killed_write_beside_the_checkpoints_is_no_damage(logged: Path) -> None:
    (logged / "checkpoints" / ".7.abc.part").write_bytes(b"half a checkp")
    assert audit(logged).checkpoints == 1


class TestWitness:
    def test_it_grows_with_the_log_and_never_twice(self, logged: Path, tmp_path: Path) -> None:
        file = tmp_path / "witness"
        assert witness(logged, file).added
        assert not witness(logged, file).added
        grow(logged)
        assert not witness(logged, file).added
        sign_head(logged, key=key_of(logged))
        assert witness(logged, file, verifier=verifier_of(logged)).count == 2
        series = read_series(file, [verifier_of(logged)])
        assert [seen.checkpoint.size for seen in series] == [7, 12]
        assert file.read_bytes() == b"".join(seen.note for seen in series)
        assert audit(logged, against=file).against == series[-1].checkpoint

    def test_it_follows_a_link(self, logged: Path, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "witness").symlink_to(tmp_path / "disk" / "real")
        witness(logged, tmp_path / "witness")
        assert (tmp_path / "witness").is_symlink()
        assert (tmp_path / "disk" / "real").is_file()

    def test_it_refuses_a_fork_and_stays_as_it_was(self, logged: Path, kept: Path) -> None:
        before = kept.read_bytes()
        cut(logged, 6)
        grow(logged)
        sign_head(logged, key=key_of(logged))
        with pytest.raises(IntegrityError, match="rewritten") as refused:
            witness(logged, kept)
        assert str(kept) in str(refused.value.where)
        assert kept.read_bytes() == before

    def test_it_never_goes_backwards(self, logged: Path, tmp_path: Path) -> None:
        grow(logged)
        newest = sign_head(logged, key=key_of(logged))
        witness(logged, tmp_path / "witness")
        newest.path.unlink()
        with pytest.raises(UsageError, match="never goes backwards"):
            witness(logged, tmp_path / "witness")

    def test_a_second_key_needs_a_second_file(self, logged: Path, tmp_path: Path) -> None:
        file = tmp_path / "witness"
        witness(logged, file)
        second = make_log_key(logged, logged / "keys" / "second.pem", PASSWORD)
        signed = sign_head(logged, key=second)
        with pytest.raises(IntegrityError, match="did not sign"):
            witness(logged, file)
        file.write_bytes(file.read_bytes() + signed.note)
        with pytest.raises(IntegrityError, match="different keys"):
            witness(logged, file)
        assert witness(logged, tmp_path / "another").added

    def test_a_file_that_was_meddled_with_is_named(self, logged: Path, tmp_path: Path) -> None:
        file = tmp_path / "witness"
        first = witness(logged, file) and file.read_bytes()
        grow(logged)
        second = sign_head(logged, key=key_of(logged)).note
        for data in (second + first, first + first, b"", b"\n" + first, first + b"\n", first + second[:-1]):
            file.write_bytes(data)
            with pytest.raises(IntegrityError) as refused:
                witness(logged, file)
            assert str(file) in str(refused.value.where)
            assert file.read_bytes() == data

    def test_two_checkpoints_of_one_size_show_a_holder_who_told_two_stories(self, logged: Path, tmp_path: Path) -> None:
        """Database and key in one hand: the workspace is of one piece, and only the witness tells."""
        file = tmp_path / "witness"
        witness(logged, file)
        cut(logged, 3)
        shutil.rmtree(logged / "checkpoints")
        grow(logged, 4)
        sign_head(logged, key=key_of(logged))
        audit(logged)
        assert find_damage(logged) == []
        with pytest.raises(IntegrityError, match="different roots"):
            witness(logged, file)


class TestProof:
    @pytest.fixture
    def proved(self, logged: Path, tmp_path: Path) -> Path:
        prove(logged, 4, tmp_path / "event.tlog-proof")
        return tmp_path / "event.tlog-proof"

    def test_it_needs_the_public_key_alone(self, logged: Path, proved: Path) -> None:
        known = verifier_of(logged)
        shutil.rmtree(logged)
        checked = check_proof(proved, entry=proved.with_suffix(".json"), verifier=known)
        assert (checked.event.seq, checked.checkpoint.size, checked.checkpoint.origin) == (4, 7, known.name)

    def test_every_event_can_be_proved(self, logged: Path, tmp_path: Path) -> None:
        for seq in range(7):
            out = tmp_path / f"{seq}.tlog-proof"
            prove(logged, seq, out)
            assert check_proof(out, entry=out.with_suffix(".json"), verifier=verifier_of(logged)).event.seq == seq

    def test_another_event_is_refused_and_named(self, logged: Path, proved: Path, tmp_path: Path) -> None:
        prove(logged, 5, tmp_path / "five.tlog-proof")
        with pytest.raises(IntegrityError, match="not in the tree") as refused:
            check_proof(proved, entry=tmp_path / "five.json", verifier=verifier_of(logged))
        assert str(proved) in str(refused.value.where)

    def test_what_came_after_the_checkpoint_is_not_proved(self, logged: Path, tmp_path: Path) -> None:
        grow(logged, 1)
        with pytest.raises(UsageError, match="before event 7"):
            prove(logged, 7, tmp_path / "event.tlog-proof")
        assert not (tmp_path / "event.json").exists()

    def test_nothing_is_written_over(self, logged: Path, proved: Path) -> None:
        with pytest.raises(UsageError, match="never written over"):
            prove(logged, 5, proved)
        with pytest.raises(UsageError, match="json"):
            prove(logged, 5, proved.with_name("proof.json"))

    def test_a_cut_log_proves_nothing(self, logged: Path, tmp_path: Path) -> None:
        cut(logged, 6)
        with pytest.raises(IntegrityError, match="cut off"):
            prove(logged, 4, tmp_path / "event.tlog-proof")

    def test_a_holder_of_the_key_cannot_put_an_event_elsewhere(self, logged: Path, tmp_path: Path) -> None:
        """Signed and hashed as it should be, yet the event says of itself that it belongs somewhere else."""
        key, known = key_of(logged), verifier_of(logged)
        (tmp_path / "other").mkdir()
        grow(tmp_path / "other")
        for workspace, index, said in ((logged, 0, "another place"), (tmp_path / "other", 1, "another log")):
            with Log.open(workspace / "audit.db") as log:
                body = log.event(1).body
            leaves = [leaf_hash(body), leaf_hash(body)]
            note = sign_checkpoint(Checkpoint(known.name, 2, node_hash(*leaves)), known, key.sign)
            (tmp_path / "event.json").write_bytes(body)
            (tmp_path / "event.tlog-proof").write_bytes(format_proof(index, [leaves[1 - index]], note))
            with pytest.raises(IntegrityError, match=said):
                check_proof(tmp_path / "event.tlog-proof", entry=tmp_path / "event.json", verifier=known)


class TestExport:
    @pytest.fixture
    def exported(self, logged: Path, tmp_path: Path) -> Path:
        export_log(logged, tmp_path / "log.jsonl")
        return tmp_path / "log.jsonl"

    def test_it_gives_the_head_back(self, logged: Path, kept: Path, exported: Path) -> None:
        head = audit(logged).head
        known = verifier_of(logged)
        shutil.rmtree(logged)
        assert check_export(exported).head == head
        checked = check_export(exported, against=kept, verifier=known)
        assert (checked.head, checked.against and checked.against.size) == (head, 7)
        with pytest.raises(UsageError, match="log's key"):
            check_export(exported, against=kept)

    def test_a_cut_end_a_fork_and_another_log_are_found(self, logged: Path, kept: Path, tmp_path: Path) -> None:
        known = verifier_of(logged)
        cut(logged, 6)
        export_log(logged, tmp_path / "cut.jsonl")
        grow(logged)
        export_log(logged, tmp_path / "forked.jsonl")
        (tmp_path / "other").mkdir()
        grow(tmp_path / "other")
        export_log(tmp_path / "other", tmp_path / "other.jsonl")
        for name, said in {"cut": "cut off", "forked": "rewritten", "other": "another log"}.items():
            path = tmp_path / f"{name}.jsonl"
            check_export(path)
            with pytest.raises(IntegrityError, match=said) as refused:
                check_export(path, against=kept, verifier=known)
            assert str(path) in str(refused.value.where)

    def test_every_line_counts(self, exported: Path, tmp_path: Path) -> None:
        lines = exported.read_bytes().splitlines(keepends=True)
        changes = [
            [*lines[:3], *lines[4:]],
            [*lines[:3], lines[4], lines[3], *lines[5:]],
            [lines[0], lines[0], *lines[1:]],
            lines[1:],
            [*lines[:-1], lines[-1][:-1]],
            [*lines, b"\n"],
            [*lines[:2], lines[2].replace(b'{"body"', b'{ "body"'), *lines[3:]],
            [],
        ]
        for changed in changes:
            path = tmp_path / "changed.jsonl"
            path.write_bytes(b"".join(changed))
            with pytest.raises(IntegrityError) as refused:
                check_export(path)
            assert str(path) in str(refused.value.where)

    @pytest.mark.parametrize(
        ("seq", "field", "value", "said"),
        [
            (3, "origin", "govern-log/other", "another log"),
            (0, "type", "export.finished", "must be the first"),
            (3, "type", "log.created", "must be the first"),
        ],
    )
    def test_a_well_made_history_that_cannot_be_is_refused(
        self, exported: Path, seq: int, field: str, value: str, said: str
    ) -> None:
        """Every leaf and every `prev` is right: somebody wrote the whole export anew."""
        prev, lines = "0" * 64, []
        for number, line in enumerate(exported.read_bytes().splitlines()):
            event = json.loads(base64.b64decode(json.loads(line)["body"]))
            event |= {"prev": prev, **({field: value} if number == seq else {})}
            body = canonical_json(event)
            prev = leaf_hash(body).hex()
            lines.append(format_line(Stored(Event.parse(body), body, event["prev"], prev)))
        exported.write_bytes(b"".join(lines))
        with pytest.raises(IntegrityError, match=said) as refused:
            check_export(exported)
        assert f"line {seq + 1}" in str(refused.value.where)

    def test_what_is_appended_meanwhile_is_no_part_of_it(
        self, logged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Another process appends between the check and the writing; only a hook can hit that moment.
        verify = Log.verify

        def slow(log: Log) -> Head:
            head = verify(log)
            grow(logged)
            return head

        monkeypatch.setattr(Log, "verify", slow)
        head = export_log(logged, tmp_path / "log.jsonl")
        assert check_export(tmp_path / "log.jsonl").head == head

    def test_a_damaged_log_is_not_exported(self, logged: Path, tmp_path: Path) -> None:
        with unguarded(logged / "audit.db") as connection:
            connection.execute("UPDATE event SET body = x'7b7d' WHERE seq = 3")
        with pytest.raises(IntegrityError, match="hash to its leaf"):
            export_log(logged, tmp_path / "log.jsonl")
        assert [path.name for path in tmp_path.iterdir()] == ["audits"]


@pytest.fixture(scope="session")
def handed_out(logged_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace, a proof of event 4 and an export."""
    folder = tmp_path_factory.mktemp("handed-out")
    shutil.copytree(logged_once, folder / "audits")
    prove(folder / "audits", 4, folder / "event.tlog-proof")
    export_log(folder / "audits", folder / "log.jsonl")
    return folder


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_mutated_file_is_taken(handed_out: Path, data: st.DataObject) -> None:
    """Whatever byte of a checkpoint, a proof, its event or an export changes, it is found and the file is named."""
    folder, known = handed_out, verifier_of(handed_out / "audits")
    kept, proof, event, exported = (
        folder / name for name in ("audits/checkpoints/7", "event.tlog-proof", "event.json", "log.jsonl")
    )
    checks: dict[Path, Callable[[], object]] = {
        kept: lambda: audit(folder / "audits"),
        proof: lambda: check_proof(proof, entry=event, verifier=known),
        event: lambda: check_proof(proof, entry=event, verifier=known),
        exported: lambda: check_export(exported, against=kept, verifier=known),
    }
    path = data.draw(st.sampled_from(sorted(checks)))
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    byte = data.draw(st.integers(1, 255))
    mutated = {
        "flip": original[:place] + bytes([original[place] ^ byte]) + original[place + 1 :],
        "insert": original[:place] + bytes([byte]) + original[place:],
        "delete": original[:place] + original[place + 1 :],
        "truncate": original[:place],
        "duplicate": original + original,
    }[data.draw(st.sampled_from(["flip", "insert", "delete", "truncate", "duplicate"]))]
    checks[path]()
    path.write_bytes(mutated)
    try:
        with pytest.raises(IntegrityError) as refused:
            checks[path]()
    finally:
        path.write_bytes(original)
    # An event that is another one, well-formed, is one that the proof is not for.
    assert any(str(name) in str(refused.value) for name in (path, *([proof] if path == event else [])))


@given(st.binary(max_size=300))
def test_parsers_take_nothing_and_do_not_fall_over(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    path, known = folder / "untrusted", LogVerifier("x", bytes(32))
    path.write_bytes(data)
    for parse in (
        lambda: read_series(path, [known]),
        lambda: check_proof(path, entry=path, verifier=known),
        lambda: check_export(path),
    ):
        with pytest.raises(GovernError):
            parse()


def test_a_checkpoint_of_no_events_proves_nothing(logged: Path, tmp_path: Path) -> None:
    key, known = key_of(logged), verifier_of(logged)
    empty = sign_checkpoint(Checkpoint(known.name, 0, bytes(32)), known, key.sign)
    (tmp_path / "empty").write_bytes(empty)
    export_log(logged, tmp_path / "log.jsonl")
    with pytest.raises(IntegrityError):
        audit(logged, against=tmp_path / "empty")
    with pytest.raises(IntegrityError):
        check_export(tmp_path / "log.jsonl", against=tmp_path / "empty", verifier=known)


def test_fsck_lists_what_is_wrong_with_each_checkpoint(logged: Path) -> None:
    folder = logged / "checkpoints"
    assert find_damage(logged) == []
    (folder / "notes.txt").write_text("mine")
    (folder / "8").mkdir()
    (folder / "7").write_bytes((folder / "7").read_bytes().replace(b"\n7\n", b"\n6\n"))
    assert [damage.where for damage in find_damage(logged)] == [
        "checkpoints/7", "checkpoints/8", "checkpoints/notes.txt",
    ]  # fmt: skip
