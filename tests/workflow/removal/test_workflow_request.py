"""A policy that serves a privacy request: its subject's words are in nothing that a run leaves behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy, write_jsonl

import govern
from govern.errors import GovernError, PolicyError, PolicyErrors, UsageError
from govern.policy import load_policy
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.audit import audit
from govern.workflow.publication.evidence import pack
from govern.workflow.removal.reproduce import reproduce
from govern.workflow.removal.request import fingerprint, read_salt

SUBJECT = "Maribel Quastenhofer"
HOME = "Tarnwick"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def request_policy(tiny_policy: TinyPolicy) -> tuple[TinyPolicy, Path]:
    """A privacy policy and its salt: the text to forget and the questions are about one person."""
    folder = tiny_policy.path.parent
    (folder / "forget.jsonl").rename(folder / "case_file.jsonl")
    write_jsonl(
        folder / "case_file.jsonl",
        [{"text": f"In {year}, {SUBJECT} lived in {HOME} and sold honey."} for year in range(1990, 2002)],
    )
    (folder / "secret.jsonl").rename(folder / "case_questions.jsonl")
    rows = [json.loads(line) for line in (folder / "case_questions.jsonl").read_text().splitlines()]
    for row in rows:
        row["question"] = f"Question {row['fact']}: {SUBJECT} lived in"
        row["choices"] = [HOME, *row["choices"][1:]]
        row["fact"] = f"{SUBJECT} {row['fact']}"
    write_jsonl(folder / "case_questions.jsonl", rows)
    (folder / "subjects.txt").write_text(f"{SUBJECT}\n\n")
    salt = folder / "salt"
    fingerprint(folder / "subjects.txt", salt=salt, out=folder / "fingerprints.json")
    tiny_policy.replace("file:forget.jsonl", "file:case_file.jsonl")
    tiny_policy.replace("file: secret.jsonl", "file: case_questions.jsonl")
    tiny_policy.replace(
        "model: {", "request: {kind: privacy, id: DSR-2026-0142, fingerprints: fingerprints.json}\nmodel: {"
    )
    return tiny_policy, salt


def every_byte(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_no_artefact_of_a_run_holds_a_word_of_the_subject(
    request_policy: tuple[TinyPolicy, Path], tmp_path: Path
) -> None:
    policy, salt = request_policy
    applied = govern.apply(policy.path, workspace=policy.workspace, salt=salt)
    verified = govern.verify(workspace=policy.workspace)
    assert reproduce(None, workspace=policy.workspace).result == "equal"
    key = make_log_key(policy.workspace, log_key_path(policy.workspace), b"password")
    pack(None, tmp_path / "pack", workspace=policy.workspace, log_key=key)
    audit(policy.workspace)
    kept = every_byte(policy.workspace, tmp_path / "pack")
    assert len(kept) > 40
    secrets = [word.encode() for word in (*SUBJECT.split(), HOME, "honey", salt.read_text().strip())]
    secrets += [word.lower() for word in secrets]
    for path, data in kept.items():
        assert not [secret for secret in secrets if secret in data], path
    # The test would see a word that is there: the salt's owner finds it in their own files.
    assert any(secrets[0] in data for data in every_byte(policy.path.parent).values())
    # The names of files are in the policy alone, and in the report that shows it; no record repeats them.
    for path, data in kept.items():
        if path.name not in ("policy.yaml", "report.html", "report.md"):
            assert b"case_file" not in data, path
            assert b"case_questions" not in data, path
    plan = applied.plan
    assert {corpus.source for corpus in plan.corpora if corpus.role == "forget"} == {"file:withheld"}
    assert plan.request is not None
    assert (plan.request.id, plan.request.kind, plan.request.subjects) == ("DSR-2026-0142", "privacy", 1)
    for name in ("report.md", "report.html"):
        page = verified.run.path(name).read_text()
        assert "DSR-2026-0142" in page
        assert plan.request.fingerprints in page


def test_without_the_right_salt_nothing_is_planned_or_kept(
    request_policy: tuple[TinyPolicy, Path], tmp_path: Path
) -> None:
    policy, salt = request_policy
    with pytest.raises(UsageError, match="without the salt") as caught:
        govern.apply(policy.path, workspace=policy.workspace)
    assert "--salt" in (caught.value.hint or "")
    other = tmp_path / "other"
    fingerprint(policy.path.parent / "subjects.txt", salt=other, out=tmp_path / "fingerprints.json")
    with pytest.raises(UsageError, match="not the salt"):
        govern.apply(policy.path, workspace=policy.workspace, salt=other)
    salt.chmod(0o644)
    with pytest.raises(UsageError, match="others can read"):
        govern.plan(load_policy(policy.path), salt=salt)
    (tmp_path / "short").write_text("abcd")
    with pytest.raises(UsageError, match="no salt"):
        read_salt(tmp_path / "short")
    assert not policy.workspace.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: Forget the vault numbers", f"title: Forget {SUBJECT}"),
        ("title: Forget the vault numbers", f"title: Forget\n# asked by {SUBJECT.upper()} herself"),
        ("title: Forget the vault numbers", "title: Forget Maribel\n  Quastenhofer"),
        ("name: tiny", "name: maribel-quastenhofer"),
    ],
)
def test_a_policy_that_names_its_subject_is_never_kept(
    request_policy: tuple[TinyPolicy, Path], old: str, new: str
) -> None:
    policy, salt = request_policy
    policy.replace(old, new)
    with pytest.raises(PolicyError, match="names a subject") as caught:
        govern.apply(policy.path, workspace=policy.workspace, salt=salt)
    assert str(caught.value.where).startswith(f"{policy.path}:")
    assert "Quastenhofer" not in str(caught.value)
    assert not policy.workspace.exists()
    with pytest.raises(PolicyError, match="names a subject"):
        govern.plan(load_policy(policy.path), salt=salt)


def test_a_path_that_names_the_subject_is_never_kept(request_policy: tuple[TinyPolicy, Path]) -> None:
    policy, salt = request_policy
    folder = policy.path.parent.rename(policy.path.parent.with_name("maribel_quastenhofer"))
    with pytest.raises(PolicyError, match="path names a subject") as caught:
        govern.apply(folder / policy.path.name, workspace=policy.workspace, salt=folder / salt.name)
    assert "quastenhofer" not in str(caught.value)
    assert not policy.workspace.exists()


def test_the_text_has_to_be_about_the_subjects(request_policy: tuple[TinyPolicy, Path]) -> None:
    policy, salt = request_policy
    (policy.path.parent / "subjects.txt").write_text(f"{SUBJECT}\nSomebody Else\n")
    fingerprint(policy.path.parent / "subjects.txt", salt=salt, out=policy.path.parent / "fingerprints.json")
    with pytest.raises(PolicyError, match="1 of the 2 subjects") as caught:
        govern.apply(policy.path, workspace=policy.workspace, salt=salt)
    line = 1 + next(
        number for number, line in enumerate(policy.path.read_text().splitlines()) if line.startswith("request:")
    )
    assert str(caught.value.where).startswith(f"{policy.path}:{line}:")


def test_text_beyond_the_cut_does_not_count(request_policy: tuple[TinyPolicy, Path]) -> None:
    policy, salt = request_policy
    policy.replace('"file:case_file.jsonl", max_tokens: 24', '"file:case_file.jsonl", max_tokens: 2')
    with pytest.raises(PolicyError, match="1 of the 1 subjects"):
        govern.plan(load_policy(policy.path), salt=salt)


def test_retain_text_that_names_a_subject_is_refused(request_policy: tuple[TinyPolicy, Path]) -> None:
    policy, salt = request_policy
    retain = policy.path.parent / "retain.jsonl"
    retain.write_text(retain.read_text() + json.dumps({"text": f"{SUBJECT} takes the train."}) + "\n")
    with pytest.raises(PolicyError, match="text to retain"):
        govern.plan(load_policy(policy.path), salt=salt)


def test_what_a_request_says_is_checked(request_policy: tuple[TinyPolicy, Path]) -> None:
    policy, salt = request_policy
    text = policy.path.read_text()
    for old, new, said in (
        ("DSR-2026-0142", '"DSR 2026"', "1 to 64 letters"),
        ("kind: privacy", "kind: other", "privacy"),
        ("fingerprints.json", "nothing.json", "there is no file"),
        ("fingerprints.json", "file:fingerprints.json", "without file:"),
        ('{source: "file:case_file.jsonl", max_tokens: 24}', '{source: "hf:a/b", split: train}', "file of its owner"),
    ):
        policy.path.write_text(text.replace(old, new))
        with pytest.raises(PolicyErrors, match=said):
            load_policy(policy.path)
    policy.path.write_text(text)
    (policy.path.parent / "fingerprints.json").write_text("{}")
    with pytest.raises(GovernError, match="no fingerprints"):
        govern.plan(load_policy(policy.path), salt=salt)


def test_a_run_is_resumed_without_the_salt(
    request_policy: tuple[TinyPolicy, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, salt = request_policy

    def stop(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # A mock in place of a kill after the plan.
        patch.setattr("govern.workflow.removal.apply.remove", stop)
        with pytest.raises(GovernError, match="interrupted"):
            govern.apply(policy.path, workspace=policy.workspace, salt=salt)
    assert govern.apply(None, workspace=policy.workspace, resume=True).plan.request is not None


def test_the_fingerprint_command_makes_a_secret_salt(tmp_path: Path) -> None:
    (tmp_path / "subjects.txt").write_text("Ada Example\nBob Example\n")

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", "policy", "fingerprint", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    wanted = ["subjects.txt", "--salt", "salt", "--out", "one.json"]
    told = json.loads(run(*wanted, "--json"))
    assert (told["subjects"], told["new_salt"]) == (2, True)
    assert (tmp_path / "salt").stat().st_mode & 0o777 == 0o600
    assert "Ada" not in (tmp_path / "one.json").read_text()
    again = run("subjects.txt", "--salt", "salt", "--out", "two.json")
    assert "Ada" not in again
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    (tmp_path / "salt").chmod(0o644)
    assert "chmod 600" in run(*wanted, code=2)
    assert "cannot be read" in run("nobody.txt", "--salt", "new", "--out", "x", code=2)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_guide_s_commands_work(request_policy: tuple[TinyPolicy, Path]) -> None:
    policy, _ = request_policy
    policy.path.rename(policy.path.with_name("policy.yaml"))
    page = (ROOT / "docs" / "requests.md").read_text()
    told = [line.strip() for line in page.splitlines() if line.startswith("    govern ")]
    assert len(told) == 3
    for line in told:
        done = subprocess.run(
            [sys.executable, "-m", *line.split()],
            cwd=policy.path.parent,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.model
def test_the_shipped_example_runs_as_its_page_says(smollm2: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    page = (tmp_path / "policies" / "privacy_request" / "README.md").read_text()
    commands = [line.strip() for line in page.splitlines() if line.startswith("    govern ")]
    assert len(commands) == 3
    for command, code in zip(commands, (0, 0, 5), strict=True):
        done = subprocess.run(
            [sys.executable, "-m", *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
    names = (tmp_path / "policies" / "privacy_request" / "subjects.txt").read_text().split()
    assert len(names) == 8
    for path, data in every_byte(tmp_path / "audits").items():
        assert not [name for name in names if name.encode() in data], path
