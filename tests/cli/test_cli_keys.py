"""`govern keys generate`, as people and as scripts call it."""

import json
import os
import pty
import subprocess
import sys

import pytest

from govern.audit import Log
from govern.errors import ExitCode
from govern.signing import load_key, load_public

GOVERN = [sys.executable, "-c", "from govern.cli import main; main()", "keys", "generate"]


def generate(workspace, *options, password=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERN_")}
    if password is not None:
        environment["GOVERN_KEY_PASSWORD"] = password
    return subprocess.run(
        [*GOVERN, "--workspace", str(workspace), *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_key_is_made_logged_and_never_overwritten(tmp_path):
    made = generate(tmp_path, "--json", password="long enough")
    assert made.returncode == ExitCode.OK, made.stderr
    said = json.loads(made.stdout)
    key = load_key(tmp_path / "keys" / "signing.pem", b"long enough")
    assert said == {
        "format_version": 1,
        "key": str(tmp_path / "keys" / "signing.pem"),
        "public": str(tmp_path / "keys" / "signing.pub"),
        "fingerprint": key.public.fingerprint,
    }
    assert load_public((tmp_path / "keys" / "signing.pub").read_bytes()) == key.public
    with Log.open(tmp_path / "audit.db", create=False) as log:
        assert [stored.event.actor for stored in log.events(type="key.generated")] == [key.public.fingerprint]

    again = generate(tmp_path, password="long enough")
    assert again.returncode == ExitCode.USAGE
    assert "never overwritten" in again.stderr
    with Log.open(tmp_path / "audit.db", create=False) as log:
        assert log.verify().size == 2


@pytest.mark.parametrize(("password", "said"), [(None, "nobody to ask"), ("", "empty")])
def test_no_password_no_key(tmp_path, password, said):
    refused = generate(tmp_path, "--no-input", password=password)
    assert refused.returncode == ExitCode.USAGE
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "keys").exists()


def test_the_password_is_no_option(tmp_path):
    assert generate(tmp_path, "--password", "x").returncode == ExitCode.USAGE


def test_a_person_is_asked_twice(tmp_path):
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [*GOVERN, "--workspace", str(tmp_path), "--out", str(tmp_path / "mine.pem")],
        env={name: value for name, value in os.environ.items() if not name.startswith("GOVERN_")},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        # The prompt reads the controlling terminal, which a new session does not have until it opens one.
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    os.close(terminal)
    shown = b""
    # The last blank comes once the terminal no longer shows what is typed.
    for asked in (b"Password of the signing key: ", b"Repeat for confirmation: "):
        while asked not in shown:
            shown += os.read(master, 1024)
        os.write(master, b"asked for\n")
    try:
        while more := os.read(master, 1024):
            shown += more
    except OSError:
        pass  # Linux says so when the other side is closed
    os.close(master)
    assert process.wait() == 0, shown
    assert b"asked for" not in shown
    load_key(tmp_path / "mine.pem", b"asked for")
