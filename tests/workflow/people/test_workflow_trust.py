"""Whose signatures count: a series of documents, each logged, each signed, none of them changed unseen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from govern.audit import Log
from govern.errors import IntegrityError, UsageError
from govern.signing import SigningKey, generate_key, load_key, throwaway_key
from govern.workflow.people import trust as story
from govern.workflow.people.trust import add_key, in_force, init_trust, revoke_key, rotate_key
from govern.workflow.publication.audit import audit


def kept_key(path: Path) -> SigningKey:
    generate_key(path, b"password")
    return load_key(path, b"password")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SigningKey]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: kept_key(folder / f"{name}.pem") for name in ("root", "root2", "ada", "ada2", "bob")}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, SigningKey]) -> Path:
    """Every kind of change once."""
    workspace = tmp_path_factory.mktemp("golden") / "audits"
    init_trust(workspace, root=keys["root"])
    add_key(workspace, keys["ada"].public, person="Ada", role="safety-reviewer", root=keys["root"])
    add_key(workspace, keys["bob"].public, person="Bob", role="issuer", root=keys["root"])
    rotate_key(workspace, old=keys["ada"], new=keys["ada2"], root=keys["root"])
    rotate_key(workspace, old=keys["root"], new=keys["root2"])
    revoke_key(workspace, keys["bob"].public.fingerprint[:12], root=keys["root2"], since="2026-01-01T00:00:00Z")
    return workspace


@pytest.fixture
def workspace(golden: Path, tmp_path: Path) -> Path:
    shutil.copytree(golden, tmp_path / "audits")
    return tmp_path / "audits"


def test_every_change_is_a_document_and_an_event(workspace: Path, keys: dict[str, SigningKey]) -> None:
    trusting = in_force(workspace)
    assert trusting is not None
    assert (trusting.trust.serial, trusting.root) == (6, keys["root2"].public)
    assert [(entry.person, entry.fingerprint) for entry in trusting.trust.keys] == [
        ("Ada", keys["ada"].public.fingerprint),
        ("Bob", keys["bob"].public.fingerprint),
        ("Ada", keys["ada2"].public.fingerprint),
    ]
    old, bob, new = trusting.trust.keys
    assert old.valid_to == new.valid_from
    assert bob.revoked_at == "2026-01-01T00:00:00Z"
    with Log.open(workspace / "audit.db", create=False) as log:
        events = [stored.event for stored in log.events(type="trust.changed")]
    assert [event.parameters["change"] for event in events] == ["init", "add", "add", "rotate", "rotate", "revoke"]
    # Each change is written while the document before it is in force.
    assert [event.trust for event in events] == [None, *(event.digests["trust.yaml"] for event in events[:-1])]
    audit(workspace)


def test_what_may_not_be_changed_is_refused(workspace: Path, keys: dict[str, SigningKey]) -> None:
    root, stranger = keys["root2"], throwaway_key()
    with pytest.raises(UsageError, match="has a trust document"):
        init_trust(workspace, root=root)
    with pytest.raises(UsageError, match="not the root key"):
        add_key(workspace, stranger.public, person="Eve", role="issuer", root=keys["root"])
    with pytest.raises(UsageError, match="already"):
        add_key(workspace, keys["bob"].public, person="Bob", role="issuer", root=root)
    for fields, where in (({"person": "E\x1b"}, "person"), ({"role": ""}, "role"), ({"valid_to": "never"}, "valid_to")):
        with pytest.raises(UsageError) as caught:
            add_key(workspace, stranger.public, **{"person": "Eve", "role": "issuer", **fields}, root=root)
        assert caught.value.where == where
    with pytest.raises(UsageError, match="0 keys"):
        revoke_key(workspace, "f" * 64, root=root)
    with pytest.raises(UsageError, match="3 keys"):
        revoke_key(workspace, "", root=root)
    with pytest.raises(UsageError, match="revoked since"):
        revoke_key(workspace, keys["bob"].public.fingerprint, root=root)
    for ended in ("ada", "bob"):
        with pytest.raises(UsageError, match="not one that counts"):
            rotate_key(workspace, old=keys[ended], new=stranger, root=root)
    with pytest.raises(UsageError, match="already"):
        rotate_key(workspace, old=keys["ada2"], new=keys["bob"], root=root)
    with pytest.raises(UsageError, match="only the root key"):
        rotate_key(workspace, old=keys["ada2"], new=stranger)
    trusting = in_force(workspace)
    assert trusting is not None
    assert trusting.trust.serial == 6
    with pytest.raises(UsageError, match="govern trust init"):
        add_key(workspace.with_name("fresh"), stranger.public, person="Eve", role="issuer", root=root)


def test_every_changed_or_missing_file_is_named(workspace: Path) -> None:
    files = sorted(path for path in (workspace / "trust").rglob("*") if path.is_file())
    assert len(files) == 6 * 3 + 2 * 4
    for path in [*files, workspace / "trust.yaml"]:
        original = path.read_bytes()
        path.write_bytes(original[:40] + bytes([original[40] ^ 1]) + original[41:])
        with pytest.raises(IntegrityError, match=path.name.replace(".", r"\.")):
            audit(workspace)
        path.unlink()
        with pytest.raises(IntegrityError, match=path.name.replace(".", r"\.")):
            audit(workspace)
        path.write_bytes(original)
    audit(workspace)


def test_an_older_document_put_back_in_force_is_found(workspace: Path) -> None:
    # It is signed and of this series: only the log knows that it was followed.
    shutil.copy(workspace / "trust" / "005" / "trust.yaml", workspace / "trust.yaml")
    for ask in (in_force, audit):
        with pytest.raises(IntegrityError, match=r"trust\.yaml is not the document"):
            ask(workspace)


def test_a_root_key_cannot_be_replaced_without_the_old_one_s_consent(
    workspace: Path, keys: dict[str, SigningKey]
) -> None:
    for path in (workspace / "trust" / "005").glob("rotation.*"):
        path.unlink()
    with pytest.raises(IntegrityError, match="rotation"):
        in_force(workspace)
    shutil.copytree(workspace / "trust" / "004", workspace / "trust" / "005", dirs_exist_ok=True)
    with pytest.raises(IntegrityError):
        in_force(workspace)


@pytest.mark.parametrize("broken", ["append", "write_atomic"])
def test_a_killed_change_is_finished_or_forgotten_by_the_next(
    workspace: Path, keys: dict[str, SigningKey], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A mock, since the moment between two system calls cannot be hit from outside."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    write: Callable[..., None] = story.write_atomic
    if broken == "append":
        monkeypatch.setattr(Log, "append", killed)
    else:
        monkeypatch.setattr(
            story, "write_atomic", lambda path, data: (killed if path.parent == workspace else write)(path, data)
        )
    with pytest.raises(KeyboardInterrupt):
        add_key(workspace, throwaway_key().public, person="Cy", role="issuer", root=keys["root2"])
    monkeypatch.undo()
    add_key(workspace, throwaway_key().public, person="Di", role="issuer", root=keys["root2"])
    trusting = in_force(workspace)
    assert trusting is not None
    added = [entry.person for entry in trusting.trust.keys[3:]]
    assert added == (["Di"] if broken == "append" else ["Cy", "Di"])
    audit(workspace)


@pytest.mark.slow
def test_the_same_from_the_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password", "GOVERN_WORKSPACE": str(tmp_path / "audits")}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    assert "govern trust init" in run("trust", "show", code=2)
    assert "keys generate --out" in run("trust", "init", "--no-input", code=2)
    for name in ("root", "ada", "ada2", "root2"):
        run("keys", "generate", "--no-input", "--out", str(tmp_path / "audits" / "keys" / f"{name}.pem"))
    folder = tmp_path / "audits" / "keys"
    run("trust", "init", "--no-input")
    ada = ["--person", "Ada Example", "--role", "safety-reviewer"]
    assert "no day" in run("trust", "add", str(folder / "ada.pub"), *ada, "--until", "soon", code=2)
    assert ".pub" in run("trust", "add", str(folder / "ada.pem"), *ada, code=2)
    run("trust", "add", str(folder / "ada.pub"), *ada, "--since", "2026-01-01", "--until", "2099-01-01")
    shown = run("trust", "show")
    assert "Ada Example" in shown
    assert "from 2026-01-01 to 2099-01-01" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if "sha256" not in line)
    run("trust", "rotate", str(folder / "ada.pem"), str(folder / "ada2.pem"))
    run("trust", "rotate", str(folder / "root.pem"), str(folder / "root2.pem"))
    found = json.loads(run("trust", "show", "--json"))
    assert (found["format_version"], found["serial"], len(found["keys"])) == (1, 4, 2)
    revoked = ["trust", "revoke", "sha256:" + found["keys"][1]["fingerprint"][:10]]
    assert "not the root key" in run(*revoked, code=2)
    run(*revoked, "--root-key", str(folder / "root2.pem"), "--since", "2026-06-01T12:00:00+02:00")
    assert json.loads(run("trust", "show", "--json"))["keys"][1]["revoked_at"] == "2026-06-01T10:00:00Z"
    run("audit", "verify")
