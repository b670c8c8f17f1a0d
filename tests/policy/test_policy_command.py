"""`govern policy validate` and `govern policy schema`."""

import json

import pytest
from policy_example import EXAMPLE
from typer.testing import CliRunner

from govern.cli.removal.policy import app
from govern.policy import json_schema, load_policy
from govern.shipped import shipped

GOOD = str(shipped("policies") / "bio_hazard.yaml")


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(EXAMPLE.replace("layer: 7", "layr: 7"))
    return str(path)


def run(*arguments):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_a_valid_policy_is_named_with_its_digest():
    result = run("validate", GOOD)
    assert result.exit_code == 0
    assert (
        result.stdout
        == f"{GOOD}: valid  bio-hazard  sha256:{load_policy(shipped('policies') / 'bio_hazard.yaml').digest}\n"
    )
    assert result.stderr == ""


def test_every_finding_has_its_line_and_the_exit_code_is_2(bad):
    result = run("validate", bad, GOOD)
    assert result.exit_code == 2
    assert result.stdout.startswith(f"{GOOD}: valid")
    assert f"error: {bad}:21:1: missing key 'layer' in removal" in result.stderr
    assert f"error: {bad}:23:3: unknown key 'layr' in removal\n  Did you mean 'layer'?" in result.stderr


def test_json_is_one_object_on_stdout(bad):
    result = run("validate", "--json", GOOD, bad)
    assert result.exit_code == 2
    value = json.loads(result.stdout)
    assert (value["format_version"], value["valid"]) == (1, False)
    good, broken = value["policies"]
    assert (good["path"], good["name"], good["errors"]) == (GOOD, "bio-hazard", [])
    assert len(good["digest"]) == 64
    assert (broken["name"], broken["digest"]) == (None, None)
    assert {
        "where": f"{bad}:23:3",
        "message": "unknown key 'layr' in removal",
        "hint": "Did you mean 'layer'?",
    } in broken["errors"]


def test_valid_json(bad):
    result = run("validate", "--json", GOOD)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["valid"] is True


def test_the_schema_is_printed_alone_or_wrapped():
    assert json.loads(run("schema").stdout) == json_schema()
    assert json.loads(run("schema", "--json").stdout) == {"format_version": 1, "schema": json_schema()}
