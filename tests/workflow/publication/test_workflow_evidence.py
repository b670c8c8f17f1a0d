"""A pack of evidence shows a run to somebody who has nothing else, and tools that are not ours agree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_team import Team
from tiny_policy import TinyPolicy

import govern
from govern.audit import Log, parse_vkey
from govern.errors import IntegrityError, UsageError
from govern.evidence import edit_statements, verify_pack
from govern.signing import throwaway_key
from govern.signing.log_key import generate_log_key
from govern.signing.model_signature import WHOLE, sign_model
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.audit import audit
from govern.workflow.publication.evidence import pack

NOW = "2026-12-01T00:00:00Z"


@pytest.fixture
def packed(packed_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed_once, tmp_path / "pack")
    return tmp_path / "pack"


def test_a_pack_says_who_signed_what(packed: Path, team_once: Team) -> None:
    checked = verify_pack(
        packed,
        now=NOW,
        root=team_once.keys["root"].public,
        log_key=parse_vkey((packed / "log.vkey").read_text().strip()),
    )
    assert (checked.person, checked.root_known, checked.log_known) == ("Ian Issuer", True, True)
    assert checked.standing is not None
    assert checked.standing.state == "approved"
    assert [review.act.reviewer.person for review in checked.reviews] == ["Ada Example", "Bob Example"]
    assert checked.files == sum(path.is_file() for path in packed.rglob("*"))
    result = json.loads((packed / "gates.sigstore.json").read_text())
    assert set(result) == {"mediaType", "verificationMaterial", "dsseEnvelope"}


def test_a_stranger_s_root_or_log_key_is_not_taken(packed: Path) -> None:
    with pytest.raises(IntegrityError, match="another root key"):
        verify_pack(packed, now=NOW, root=throwaway_key().public)
    known = parse_vkey((packed / "log.vkey").read_text().strip())
    with pytest.raises(IntegrityError, match="another key than the one you know"):
        verify_pack(packed, now=NOW, log_key=type(known)(known.name, bytes(32)))


def test_a_run_without_trust_or_key_packs_as_well(verified: TinyPolicy, tmp_path: Path) -> None:
    key = make_log_key(verified.workspace, log_key_path(verified.workspace), b"password")
    checked = pack(None, tmp_path / "pack", workspace=verified.workspace, log_key=key).checked
    assert (checked.person, checked.trust, checked.standing) == (None, None, None)
    assert checked.claim.signer.kind == "throwaway"
    with pytest.raises(UsageError, match="never written over"):
        pack(None, tmp_path / "pack", workspace=verified.workspace, log_key=key)
    with pytest.raises(IntegrityError, match=r"trust\.yaml"):
        verify_pack(tmp_path / "pack", now=NOW, root=throwaway_key().public)
    audit(verified.workspace)


def test_a_run_without_a_report_has_no_evidence(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    key = make_log_key(tiny_policy.workspace, log_key_path(tiny_policy.workspace), b"password")
    with pytest.raises(UsageError, match="govern verify"):
        pack(None, tmp_path / "pack", workspace=tiny_policy.workspace, log_key=key)
    assert not (tmp_path / "pack").exists()


def test_a_signer_who_claims_what_does_not_follow_is_found(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock, since our own issuing never says anything else: a dishonest signer's may."""

    def dishonest(*records: Any) -> dict[str, bytes]:
        honest = edit_statements(*records)
        return {**honest, "gates.sigstore.json": honest["gates.sigstore.json"].replace(b"WARNED", b"PASSED")}

    monkeypatch.setattr("govern.workflow.publication.report.edit_statements", dishonest)
    team.reissue()
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    with pytest.raises(IntegrityError, match=r"gates\.sigstore\.json.*does not say what follows"):
        pack(None, tmp_path / "pack", workspace=team.workspace, log_key=key)


def test_a_signer_who_signed_other_weights_is_found(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock, for the same reason."""
    monkeypatch.setattr(
        "govern.workflow.publication.report.sign_model", lambda name, _, key: sign_model(name, {WHOLE: "0" * 64}, key)
    )
    team.reissue()
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    with pytest.raises(IntegrityError, match=r"model\.sig.*over another model"):
        pack(None, tmp_path / "pack", workspace=team.workspace, log_key=key)


def test_only_a_key_that_the_log_names_signs_for_it(team: Team, tmp_path: Path) -> None:
    key = make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    with Log.open(team.workspace / "audit.db", create=False) as log:
        head = log.head()
    assert head is not None
    assert parse_vkey(head.event.parameters["vkey"]).key == key.public
    stranger = generate_log_key(tmp_path / "stranger.pem", b"password")
    with pytest.raises(UsageError, match="does not name this key"):
        pack(None, tmp_path / "pack", workspace=team.workspace, log_key=stranger)


def run_line(line: str, folder: Path, delta: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DELTA": str(delta or folder / "none"),
    }
    return subprocess.run(
        ["bash", "-ec", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def page_commands(folder: Path) -> str:
    page = (folder / "VERIFY.md").read_text()
    return "\n".join(line[4:] for line in page.splitlines() if line.startswith("    "))


@pytest.mark.openssl
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_every_command_of_the_page_works_and_finds_a_change(packed: Path, team_once: Team) -> None:
    commands = page_commands(packed)
    checks = re.findall(r"^check (\S+) (\S+)$", commands, re.M)
    assert len(checks) == 4 + 1 + 1 + 2 + 2
    done = run_line(commands, packed, team_once.run / "delta.safetensors")
    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout
    assert run_line(commands, packed, team_once.run / "removal.json").returncode != 0
    assert done.stdout.count("Verified OK") == len(checks)
    assert team_once.keys["ian"].public.fingerprint in done.stdout
    functions = commands[commands.index("dsse()") : commands.index("check gates")]
    for bundle, key in checks:
        path = packed / bundle
        original = path.read_text()
        changed = json.loads(original)
        payload = changed["dsseEnvelope"]["payload"]
        changed["dsseEnvelope"]["payload"] = payload[:-8] + ("A" if payload[-8] != "A" else "B") + payload[-7:]
        path.write_text(json.dumps(changed, separators=(",", ":"), sort_keys=True))
        assert run_line(f"{functions}\ncheck {bundle} {key}", packed).returncode != 0
        path.write_text(original)
    (packed / "report.html").write_text("changed")
    assert run_line(commands[commands.index("grep") :], packed).returncode != 0


def test_the_command_line_needs_no_workspace(
    team: Team, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("GOVERN_KEY_PASSWORD", "password")

    def run(*arguments: str, code: int = 0) -> str:
        done = command("evidence", *arguments)
        assert done.code == code, done.err
        return str(done.out if code == 0 else done.err)

    assert "govern keys generate --log" in run("pack", "latest", "given", "--workspace", str(team.workspace), code=2)
    make_log_key(team.workspace, log_key_path(team.workspace), b"password")
    shown = run("pack", "latest", "given", "--workspace", str(team.workspace), "--no-input")
    assert "waits for 2 of 2: Ada Example, Bob Example" in shown
    again = json.loads(run("pack", team.run.name, "again", "--workspace", str(team.workspace), "--no-input", "--json"))
    assert (again["state"], again["verdict"]) == ("waiting", "inconclusive")
    shutil.rmtree(team.workspace / "runs")
    root = elsewhere / "root.pub"
    root.write_bytes(team.keys["root"].public.pem)
    checked = json.loads(run("verify", "given", "--root", str(root), "--log-key", "given/log.vkey", "--json"))
    assert (checked["valid"], checked["signer"], checked["root_known"]) == (True, "Ian Issuer", True)
    assert "--root" in run("verify", "given")
    assert not (elsewhere / "audits").exists()
    root.write_bytes(throwaway_key().public.pem)
    assert "another root key" in run("verify", "given", "--root", str(root), code=4)
    (elsewhere / "given" / "report.html").write_text("changed")
    assert "report.html" in run("verify", "given", code=4)
    assert "no such folder" in run("verify", "nothing", code=2)


def test_checking_loads_neither_torch_nor_a_model_library(packed: Path) -> None:
    code = (
        "import sys, pathlib; from govern.evidence import verify_pack; "
        f"verify_pack(pathlib.Path(sys.argv[1]), now={NOW!r}); "
        "sys.exit(bool({'torch', 'transformers', 'datasets', 'lm_eval'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(packed)], check=False).returncode == 0
