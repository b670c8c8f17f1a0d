"""Timestamps of checkpoints, from a real authority: openssl's, asked over HTTP or by files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_log import grow, key_of, verifier_of
from timestamp_authority import Authority, make_authority, serve

from govern.errors import GovernError, IntegrityError, UsageError
from govern.signing.timestamp import timestamp_request, verify_timestamp
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.log.timestamp import check_timestamp, fetch_timestamp, request_timestamp

pytestmark = [
    pytest.mark.openssl,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed"),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def kept(logged: Path, tmp_path: Path) -> Path:
    (tmp_path / "handed-out.checkpoint").write_bytes((logged / "checkpoints" / "7").read_bytes())
    return tmp_path / "handed-out.checkpoint"


@pytest.fixture
def server(authority: Authority) -> Iterator[tuple[str, list[bytes]]]:
    """The authority's URL, and a list: what is put there is answered instead."""
    answers: list[bytes] = []
    with serve(authority, answers) as url:
        yield url, answers


def test_an_authority_is_asked_and_openssl_agrees(
    logged: Path, kept: Path, tmp_path: Path, authority: Authority, server: tuple[str, list[bytes]]
) -> None:
    out = tmp_path / "x.tsr"
    stamp = fetch_timestamp(kept, out, url=server[0], roots=authority.root)
    assert abs(stamp.time - datetime.now(UTC)) < timedelta(minutes=1)
    assert stamp.authority == "CN=Test authority"
    found, again = check_timestamp(
        kept, out, roots=authority.root, verifier=verifier_of(logged), request=tmp_path / "x.tsq"
    )
    assert (found.size, again) == (7, stamp)
    assert authority.verifies(kept, out)
    with pytest.raises(UsageError, match="never written over"):
        fetch_timestamp(kept, out, url=server[0], roots=authority.root)


def test_without_a_network_files_are_carried(logged: Path, kept: Path, tmp_path: Path, authority: Authority) -> None:
    request_timestamp(kept, tmp_path / "q.tsq")
    authority.reply(tmp_path / "q.tsq", tmp_path / "r.tsr")
    check_timestamp(
        kept, tmp_path / "r.tsr", roots=authority.root, verifier=verifier_of(logged), request=tmp_path / "q.tsq"
    )


def test_a_cosigned_checkpoint_has_the_timestamp_of_what_the_log_signed(
    logged: Path, kept: Path, tmp_path: Path, authority: Authority, server: tuple[str, list[bytes]]
) -> None:
    fetch_timestamp(kept, tmp_path / "x.tsr", url=server[0], roots=authority.root)
    kept.write_bytes(kept.read_bytes() + "— witness AAAAAAAAAAAA\n".encode())
    check_timestamp(kept, tmp_path / "x.tsr", roots=authority.root, verifier=verifier_of(logged))


def test_what_an_authority_did_not_say_is_refused(
    logged: Path, kept: Path, tmp_path: Path, authority: Authority, server: tuple[str, list[bytes]]
) -> None:
    url, answers = server
    out = tmp_path / "x.tsr"
    fetch_timestamp(kept, out, url=url, roots=authority.root)
    # An old answer, replayed, does not have the nonce of today's request.
    answers.append(out.read_bytes())
    with pytest.raises(IntegrityError, match="Nonce") as refused:
        fetch_timestamp(kept, tmp_path / "y.tsr", url=url, roots=authority.root)
    assert refused.value.where == url
    assert not (tmp_path / "y.tsr").exists()
    answers.append(b"<html>busy</html>")
    with pytest.raises(IntegrityError, match="malformed"):
        fetch_timestamp(kept, tmp_path / "y.tsr", url=url, roots=authority.root)
    with pytest.raises(IntegrityError, match="does not hold"):
        fetch_timestamp(kept, tmp_path / "y.tsr", url=url, roots=authority.folder / "other-root.pem")
    known = verifier_of(logged)
    grow(logged)
    (tmp_path / "later").write_bytes(sign_head(logged, key=key_of(logged)).note)
    with pytest.raises(IntegrityError, match="Mismatch") as refused:
        check_timestamp(tmp_path / "later", out, roots=authority.root, verifier=known)
    assert str(out) in str(refused.value.where)
    assert not authority.verifies(tmp_path / "later", out)
    kept.write_bytes(kept.read_bytes().replace(b"\n7\n", b"\n6\n"))
    with pytest.raises(IntegrityError, match="signature does not match") as refused:
        check_timestamp(kept, out, roots=authority.root, verifier=known)
    assert str(kept) in str(refused.value.where)


def test_an_authority_that_refuses_is_heard(kept: Path, tmp_path: Path, authority: Authority) -> None:
    request = tmp_path / "sha512.tsq"
    authority.openssl("ts", "-query", "-data", kept, "-sha512", "-out", request)
    authority.reply(request, tmp_path / "r.tsr")
    with pytest.raises(IntegrityError, match="refused"):
        verify_timestamp((tmp_path / "r.tsr").read_bytes(), kept.read_bytes(), roots=authority.root.read_bytes())


def test_a_certificate_that_is_not_for_timestamps_stamps_nothing(
    kept: Path, tmp_path: Path, authority: Authority
) -> None:
    """openssl refuses to reply with such a certificate, so the one for timestamps is exchanged afterwards."""
    request_timestamp(kept, tmp_path / "q.tsq")
    authority.reply(tmp_path / "q.tsq", tmp_path / "r.tsr")
    data = (tmp_path / "r.tsr").read_bytes()
    usage = bytes.fromhex("2b06010505070308")  # 1.3.6.1.5.5.7.3.8, id-kp-timeStamping
    assert data.count(usage) == 1
    with pytest.raises(IntegrityError):
        verify_timestamp(data.replace(usage, usage[:-1] + b"\3"), kept.read_bytes(), roots=authority.root.read_bytes())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutated_response_says_something_else(
    data: st.DataObject, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A few bytes of CMS mean nothing and are unsigned; a change there leaves time, number and imprint as they were."""
    folder = tmp_path_factory.getbasetemp()
    message, roots = b"a checkpoint", authority.root.read_bytes()
    if not (folder / "m.tsr").exists():
        (folder / "m.tsq").write_bytes(timestamp_request(message))
        authority.reply(folder / "m.tsq", folder / "m.tsr")
    original, request = (folder / "m.tsr").read_bytes(), (folder / "m.tsq").read_bytes()
    stamp = verify_timestamp(original, message, roots=roots, request=request)
    place = data.draw(st.integers(0, len(original) - 1))
    byte = bytes([original[place] ^ data.draw(st.integers(1, 255))])
    mutated = data.draw(
        st.sampled_from(
            [
                original[:place] + byte + original[place + 1 :],
                original[:place] + byte + original[place:],
                original[:place] + original[place + 1 :],
                original[:place],
                original + byte,
            ]
        )
    )
    with suppress(IntegrityError):
        assert verify_timestamp(mutated, message, roots=roots, request=request) == stamp
    for untrusted in (mutated, mutated[::-1]):
        with pytest.raises(IntegrityError):
            verify_timestamp(untrusted, b"another checkpoint", roots=roots)


def test_what_cannot_be_asked_is_said_plainly(kept: Path, tmp_path: Path, authority: Authority) -> None:
    for url, said in {
        "ftp://example.org": "URL",
        "file:///etc/passwd": "URL",
        "https://a:b@example.org": "password",
    }.items():
        with pytest.raises(UsageError, match=said):
            fetch_timestamp(kept, tmp_path / "x.tsr", url=url, roots=authority.root)
    with pytest.raises(GovernError, match="cannot be asked") as refused:
        fetch_timestamp(kept, tmp_path / "x.tsr", url="http://127.0.0.1:1/", roots=authority.root)
    assert "--request-out" in str(refused.value.hint)
    with pytest.raises(UsageError, match="not a certificate"):
        verify_timestamp(b"", b"", roots=b"nonsense")
    with pytest.raises(UsageError, match="tsq"):
        fetch_timestamp(kept, tmp_path / "x.tsq", url="http://127.0.0.1:1/", roots=authority.root)
    kept.write_bytes(kept.read_bytes() * 2)
    with pytest.raises(IntegrityError, match="not one checkpoint"):
        request_timestamp(kept, tmp_path / "q.tsq")


def test_without_the_extra_the_error_names_it(kept: Path, tmp_path: Path) -> None:
    """A mock: an environment without the library would have to be installed for it."""
    code = (
        "import sys; sys.modules['rfc3161_client'] = None; from govern.cli import main; "
        f"sys.argv = ['govern', 'audit', 'timestamp', {str(kept)!r}, '--request-out', {str(tmp_path / 'q')!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "govern-unlearning[timestamp]" in done.stderr


def test_the_command_line(
    logged: Path,
    kept: Path,
    tmp_path: Path,
    authority: Authority,
    server: tuple[str, list[bytes]],
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        done = command("audit", *arguments)
        assert done.code == code, done.err
        return str(done.out if code == 0 else done.err)

    vkey, root = verifier_of(logged).vkey, str(authority.root)
    told = json.loads(run("timestamp", kept.name, "--tsa", server[0], "--tsa-root", root, "--out", "x.tsr", "--json"))
    assert told["authority"] == "CN=Test authority"
    checked = ("check-timestamp", kept.name, "x.tsr", "--tsa-root", root)
    assert f"it was there at {told['time']}, says CN=Test authority" in run(*checked, "--log-key", vkey)
    again = json.loads(run(*checked, "--log-key", vkey, "--request", "x.tsq", "--json"))
    assert (again["nonce"], again["events"], again["time"]) == (True, 7, told["time"])
    assert "--log-key" in run(*checked, code=2)
    assert "--request-out" in run("timestamp", kept.name, code=2)
    assert "a request" in run("timestamp", kept.name, "--request-out", "q.tsq")
    (tmp_path / "x.tsr").write_bytes(b"nothing")
    assert "x.tsr" in run(*checked, "--log-key", vkey, code=4)
