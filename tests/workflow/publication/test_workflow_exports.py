"""`report export` and `verify --junit --sarif` on a real run, as a pipeline would use them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from tiny_policy import FORGET, TinyPolicy, questions
from typer.testing import CliRunner

import govern
from govern.cli import app
from govern.errors import IntegrityError, UsageError
from govern.workflow.publication.exports import reported, write_export

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
FORMS = ("cyclonedx", "model-card", "junit", "sarif", "json")


def run_of(policy: TinyPolicy) -> Path:
    return next((policy.workspace / "runs").iterdir())


def test_every_format_comes_out_the_same_twice_and_quotes_no_text(verified: TinyPolicy, tmp_path: Path) -> None:
    texts = [*FORGET, *(row["question"] for row in questions("secret", 24))]
    written: list[dict[str, bytes]] = []
    for time in ("once", "again"):
        for form in FORMS:
            name = form if form == "model-card" else f"run.{form}"
            shown = CliRunner().invoke(
                app,
                ["report", "export", "--format", form, "--out", str(tmp_path / time / name),
                 "--workspace", str(verified.workspace), "--json"],
            )  # fmt: skip
            assert shown.exit_code == 0, shown.output
            assert json.loads(shown.stdout)["files"]
        files = [path for path in (tmp_path / time).rglob("*") if path.is_file()]
        written.append({path.relative_to(tmp_path / time).as_posix(): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert set(written[0]) == {"run.cyclonedx", "run.junit", "run.sarif", "run.json", "model-card/README.md"}
    for data in written[0].values():
        assert not any(str(text).encode() in data for text in texts)


def test_a_failed_gate_is_in_the_files_that_verify_writes(
    verified: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(verified.path.parent, folder / "policies")
    policy = TinyPolicy(folder / "policies" / "tiny.yaml", folder / "audits").replace("ceiling: 0.9", "ceiling: 0.1")
    monkeypatch.chdir(folder)
    govern.apply(policy.path, workspace=policy.workspace)
    done = CliRunner().invoke(app, ["verify", "--junit", "gates.xml", "--sarif", "ci/gates.sarif", "--json"])
    assert done.exit_code == 3, done.output
    jsonschema.validate(json.loads(done.stdout), json.loads((SCHEMAS / "verdict.schema.json").read_text()))
    suite = ElementTree.fromstring((folder / "gates.xml").read_bytes()).find("testsuite")
    assert suite.get("failures") == "1"
    sarif = json.loads((folder / "ci" / "gates.sarif").read_text())["runs"][0]
    lines = policy.path.read_text().splitlines()
    for result, word in zip(sarif["results"], ("ceiling", "max_drop", "max_increase"), strict=True):
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "policies/tiny.yaml"
        assert word in lines[place["region"]["startLine"] - 1]
    assert sarif["results"][0]["kind"] == "fail"
    assert sarif["invocations"][0]["exitCode"] == 3


def test_what_cannot_be_exported_says_why(verified: TinyPolicy, tmp_path: Path) -> None:
    found = reported(None, workspace=verified.workspace)
    write_export(found, "model-card", tmp_path / "model")
    with pytest.raises(UsageError, match="never written over"):
        write_export(found, "model-card", tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_export(found, "json", tmp_path / "file" / "out.json")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for special in ("pipe", "link"):
        with pytest.raises(UsageError, match="ordinary file"):
            write_export(found, "json", tmp_path / special)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_export(found, "json", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == found.document.canonical()
    removal = run_of(verified) / "removal.json"
    removal.write_bytes(removal.read_bytes().replace(b'"seconds":', b'"seconds":1'))
    with pytest.raises(IntegrityError, match=r"removal\.json"):
        reported(None, workspace=verified.workspace)


def test_a_run_without_a_report_says_what_to_do(tiny_policy: TinyPolicy) -> None:
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    with pytest.raises(UsageError, match="never verified") as raised:
        reported(None, workspace=tiny_policy.workspace)
    assert "govern verify" in str(raised.value.hint)
