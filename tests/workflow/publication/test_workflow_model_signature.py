"""A run's delta and its exported folder are signed, and OpenSSF's own command agrees on both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from review_team import Team
from tiny_policy import TinyPolicy

from govern.audit import Log
from govern.errors import IntegrityError, UsageError
from govern.evidence import check_delta, check_model, model_folder, verify_pack
from govern.signing import throwaway_key
from govern.signing.model_signature import sign_model
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.audit import audit
from govern.workflow.publication.evidence import pack
from govern.workflow.removal.export import export

NOW = "2026-12-01T00:00:00Z"


@pytest.fixture(scope="module")
def exported_once(team_once: Team, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace, its signed export `edited`, and its evidence `pack`."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(team_once.workspace, folder / "audits")
    export(None, folder / "edited", workspace=folder / "audits", key=team_once.keys["ian"])
    key = make_log_key(folder / "audits", log_key_path(folder / "audits"), b"password")
    pack(None, folder / "pack", workspace=folder / "audits", log_key=key)
    return folder


@pytest.fixture
def exported(exported_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported_once, tmp_path / "all")
    return tmp_path / "all"


def delta_of(exported: Path) -> Path:
    return next(exported.glob("audits/runs/*/delta.safetensors"))


def model_signing(model: Path, signature: Path, key: Path) -> bool:
    command = [sys.executable, "-m", "model_signing", "verify", "key", model]
    command += ["--signature", signature, "--public_key", key]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ("Verification succeeded" in done.stdout) == (done.returncode == 0), done.stderr
    return done.returncode == 0


def test_both_are_accepted_by_openssf_s_command_and_each_changed_one_is_not(exported: Path) -> None:
    run = delta_of(exported).parent
    delta, folder, signer = run / "delta.safetensors", exported / "edited", exported / "pack" / "signer.pub"
    assert model_signing(delta, run / "model.sig", signer)
    assert model_signing(delta, exported / "pack" / "model.sig", signer)
    assert model_signing(folder, folder / "model.sig", signer)
    assert not model_signing(folder, exported / "pack" / "model.sig", signer)
    flip(delta)
    flip(folder / "tokenizer_config.json")
    assert not model_signing(delta, run / "model.sig", signer)
    assert not model_signing(folder, folder / "model.sig", signer)


def test_the_log_binds_the_signature_of_an_export(exported: Path, team_once: Team) -> None:
    with Log.open(exported / "audits" / "audit.db", create=False) as log:
        event = next(log.events(type="export.finished")).event
    assert event.actor == team_once.keys["ian"].public.fingerprint
    assert sorted(event.digests) == ["exports/001/model.sig", "exports/001/signer.pub"]
    kept = delta_of(exported).parent / "exports" / "001" / "model.sig"
    assert kept.read_bytes() == (exported / "edited" / "model.sig").read_bytes()
    audit(exported / "audits")
    flip(kept)
    with pytest.raises(IntegrityError, match=r"exports/001/model\.sig"):
        audit(exported / "audits")


def test_without_a_key_nothing_is_signed(verified: TinyPolicy, tmp_path: Path) -> None:
    assert export(None, tmp_path / "edited", workspace=verified.workspace).signer is None
    assert not (tmp_path / "edited" / "model.sig").exists()


def test_a_pack_knows_its_delta_and_its_model(exported: Path) -> None:
    checked = verify_pack(exported / "pack", now=NOW)
    check_delta(checked, delta_of(exported))
    assert check_model(checked, exported / "edited")
    with pytest.raises(IntegrityError, match="not the delta") as refused:
        check_delta(checked, exported / "edited" / "model.safetensors")
    assert "edited/model.safetensors" in str(refused.value.where)
    with pytest.raises(UsageError, match="cannot be read"):
        check_delta(checked, exported / "none")
    with pytest.raises(UsageError, match="no such folder"):
        check_model(checked, exported / "none")
    (exported / "edited" / "model.sig").unlink()
    assert not check_model(checked, exported / "edited")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_every_file_of_a_signed_model_counts(exported: Path) -> None:
    checked, folder = verify_pack(exported / "pack", now=NOW), exported / "edited"
    changes: dict[str, Callable[[Path], object]] = {
        "changed": flip,
        "deleted": Path.unlink,
        "emptied": lambda path: path.write_bytes(b""),
        "a link": lambda path: (path.rename(exported / "moved"), path.symlink_to(exported / "moved")),
    }
    key = throwaway_key()
    for path in sorted(folder.iterdir()):
        original = path.read_bytes()
        for name, change in changes.items():
            if (path.name, name) == ("model.sig", "deleted"):
                continue
            change(path)
            with pytest.raises((IntegrityError, UsageError)) as refused:
                check_model(checked, folder)
            assert str(folder) in str(refused.value.where), name
            path.unlink(missing_ok=True)
            path.write_bytes(original)
    (folder / "NOTICE").write_text("more")
    with pytest.raises(IntegrityError, match="not signed"):
        check_model(checked, folder)
    (folder / "NOTICE").unlink()
    (folder / "model.sig").write_bytes(sign_model("edited", model_folder(folder), key))
    with pytest.raises(IntegrityError, match="another key"):
        check_model(checked, folder)


@pytest.mark.slow
def test_the_command_line_signs_and_checks(team: Team, tmp_path: Path) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password", "GOVERN_WORKSPACE": str(team.workspace)}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    ian = str(team.workspace / "keys" / "ian.pem")
    told = json.loads(run("export", "latest", "edited", "--key", ian, "--json"))
    assert told["signer"] == team.keys["ian"].public.fingerprint
    make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    run("evidence", "pack", "latest", "pack")
    delta = str(team.run / "delta.safetensors")
    shown = run("evidence", "verify", "pack", "--delta", delta, "--model", "edited")
    assert "the one that was made and signed" in shown
    assert "its signature holds" in shown
    told = json.loads(run("evidence", "verify", "pack", "--delta", delta, "--model", "edited", "--json"))
    assert (told["delta"], told["model_signed"]) == (True, True)
    assert "delta" not in json.loads(run("evidence", "verify", "pack", "--json"))
    (tmp_path / "edited" / "config.json").write_text("{}")
    assert "not the model" in run("evidence", "verify", "pack", "--model", "edited", code=4)
    assert "model.sig" in run("export", "--help")
