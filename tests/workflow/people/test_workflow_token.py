"""Keys in a token, here SoftHSM: they sign reports, sign-offs, trust documents and checkpoints, and never leave."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_team import Team

from govern.errors import GovernError, UsageError
from govern.signing.token import TokenUri, parse_token_uri

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")
MODULE = next((path for path in MODULES if Path(path).exists()), None)
URI = f"pkcs11:token=govern;object=%s?module-path={MODULE}"
Run = Callable[..., str]

needs_softhsm = pytest.mark.skipif(
    MODULE is None or not shutil.which("softhsm2-util") or not shutil.which("pkcs11-tool"),
    reason="SoftHSM (softhsm2) or pkcs11-tool (opensc) is not installed",
)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which there is a token `govern` with keys signer, ada, root (P-256), log (Ed25519), p384."""
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "GOVERN_PIN": "1234"}
    environment["GOVERN_KEY_PASSWORD"] = "password"

    def tool(*command: str) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    p256 = "prime256v1"
    tool("softhsm2-util", "--init-token", "--free", "--label", "govern", "--pin", "1234", "--so-pin", "5678")
    pkcs11_tool = ("pkcs11-tool", "--module", str(MODULE), "--token-label", "govern", "--login", "--pin", "1234")
    kinds = {"signer": p256, "ada": p256, "root": p256, "log": "edwards25519", "p384": "secp384r1"}
    for number, (label, curve) in enumerate(kinds.items(), 1):
        tool(*pkcs11_tool, "--keypairgen", "--key-type", f"EC:{curve}", "--label", label, "--id", f"{number:02d}")
    return environment


@pytest.fixture
def run(token: dict[str, str], tmp_path: Path) -> Run:
    """`govern` as another process: a process speaks to one set of tokens alone."""

    def call(*arguments: str, code: int = 0, **changed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", *arguments],
            env={**token, **changed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return call


@pytest.mark.slow
@pytest.mark.softhsm
@needs_softhsm
def test_a_token_s_keys_sign_all_that_a_file_s_do(team: Team, tmp_path: Path, run: Run) -> None:
    workspace = ("--workspace", str(team.workspace))
    told = json.loads(run("keys", "adopt", URI % "signer", "--out", "signer.pub", *workspace, "--json"))
    run("keys", "adopt", URI % "ada", "--out", "ada.pub", *workspace)
    root = str(team.workspace / "keys" / "root.pem")
    by_root = ("--role", "safety-reviewer", "--root-key", root, *workspace)
    for name, person in {"signer": "Sam Signer", "ada": "Ada Token"}.items():
        run("trust", "add", f"{name}.pub", "--person", person, *by_root)
    run("report", "render", "--key", URI % "signer", *workspace)
    report = str(team.run / "report.html")
    checked = json.loads(run("report", "verify", report, *workspace, "--json"))
    assert (checked["signer"], checked["fingerprint"]) == ("Sam Signer", told["fingerprint"])
    run("review", "latest", "--approve", "--comment", "Read.", "--key", URI % "ada", *workspace)
    # The root key moves into the token: both sign.
    run("trust", "rotate", root, URI % "root", *workspace)
    assert "Ada Token" in run("trust", "show", *workspace)
    # The log's own key.
    run("keys", "adopt", URI % "log", "--log", "--out", "log.vkey", *workspace)
    run("evidence", "pack", "latest", "pack", "--log-key", URI % "log", *workspace)
    shown = run("evidence", "verify", "pack", "--log-key", "log.vkey")
    assert "Sam Signer" in shown
    assert "waits for 1 of 2" in shown
    assert "the log's key is the pack's own word" not in shown
    run("audit", "verify", *workspace)
    # OpenSSF's tool and openssl know nothing of tokens, and need not.
    for line in (
        f"{sys.executable} -m model_signing verify key {team.run / 'delta.safetensors'} --signature pack/model.sig "
        "--public_key signer.pub",
        "cmp signer.pub pack/signer.pub",
    ):
        subprocess.run(["bash", "-ec", line], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.softhsm
@needs_softhsm
def test_what_a_token_refuses_is_said_plainly(run: Run, tmp_path: Path) -> None:
    def refused(uri: str, code: int, *more: str, **changed: str) -> str:
        said = run("keys", "adopt", uri, "--out", "x.pub", "--workspace", "audits", *more, code=code, **changed)
        assert not (tmp_path / "x.pub").exists()
        assert "Traceback" not in said
        assert "1234" not in said
        return said

    assert "does not take this PIN" in refused(URI % "signer", 2, GOVERN_PIN="9999")
    assert "GOVERN_PIN" in refused(URI % "signer", 2, GOVERN_PIN="")
    assert "there is none" in refused(URI % "nobody", 2)
    assert "there is none" in refused((URI % "signer").replace("token=govern", "token=other"), 2)
    assert "not a P-256 key" in refused(URI % "p384", 2)
    assert "not a P-256 key" in refused(URI % "log", 2)
    assert "not an Ed25519 key" in refused(URI % "signer", 2, "--log")
    assert "cannot open" in refused("pkcs11:token=govern;object=signer?module-path=/nothing.so", 1)
    run("keys", "adopt", URI % "signer", "--out", "x.pub", "--workspace", "audits")
    assert "never overwritten" in run("keys", "adopt", URI % "ada", "--out", "x.pub", "--workspace", "audits", code=2)


@pytest.mark.softhsm
@needs_softhsm
def test_key_and_token_may_be_named_by_number_and_the_module_by_the_environment(
    run: Run, token: dict[str, str]
) -> None:
    slots = subprocess.run(["softhsm2-util", "--show-slots"], env=token, capture_output=True, text=True, check=True)
    serial = re.findall(r"Serial number: +([0-9a-f]+)", slots.stdout)[0]
    names = ("token=govern;id=%01", "token=govern;object=signer;type=private", f"serial={serial};id=%01")
    found = set()
    for number, name in enumerate(names):
        told = json.loads(
            run("keys", "adopt", f"pkcs11:{name}", "--out", f"{number}.pub", "--json", GOVERN_PKCS11_MODULE=str(MODULE))
        )
        found.add(told["fingerprint"])
    assert len(found) == 1


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    """A mock: an environment without the library would have to be installed for it."""
    code = (
        "import sys; sys.modules['pkcs11'] = None; from govern.cli import main; "
        "sys.argv = ['govern', 'keys', 'adopt', 'pkcs11:token=a;object=b?module-path=/x.so', '--out', 'x.pub']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "GOVERN_PIN": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "govern-unlearning[pkcs11]" in done.stderr


def test_a_uri_says_which_key_of_which_token() -> None:
    """Escapes and attributes as RFC 7512 section 3 has them in its examples."""
    text = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;object=my-key;id=%69%95%3E;serial=A1?module-path=/x.so"
    assert parse_token_uri(text) == TokenUri(
        text, "/x.so", "The Software PKCS#11 Softtoken", b"A1", "my-key", b"\x69\x95\x3e"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pkcs11:token=a;object=b?pin-value=1234", "PIN"),
        ("pkcs11:token=a;object=b?pin-source=file:/pin", "PIN"),
        ("pkcs11:token=a;object=b", "library"),
        ("pkcs11:object=b?module-path=/x", "name a token"),
        ("pkcs11:token=a?module-path=/x", "name a token"),
        ("pkcs11:token=a;object=b;type=cert?module-path=/x", "name a token"),
        ("pkcs11:token=a;object=b;slot-id=1?module-path=/x", "slot-id"),
        ("pkcs11:token=a;object=b?module-name=x", "module-name"),
        ("pkcs11:token;object=b", "no value"),
        ("pkcs11:token=%ff;object=b?module-path=/x", "UTF-8"),
        ("file:x", "begin"),
    ],
)
def test_a_uri_of_another_form_is_refused(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOVERN_PKCS11_MODULE", raising=False)
    with pytest.raises(UsageError, match=said) as refused:
        parse_token_uri(text)
    assert "1234" not in str(refused.value)


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fall_over(text: str) -> None:
    for candidate in (text, f"pkcs11:{text}", f"pkcs11:token=a;object=b?module-path={text}"):
        try:
            parse_token_uri(candidate)
        except GovernError:
            continue
