"""From a file to a policy: places, digests, and the files that a policy names."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from policy_example import EXAMPLE, changed, parse

from govern.digests import canonical_json, sha256_bytes
from govern.errors import PolicyErrors
from govern.policy import load_policy, parse_policy


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """The example with everything that it names beside it."""
    for name in ("forget.jsonl", "letters.jsonl", "cloze.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "model").mkdir()
    path = tmp_path / "policy.yaml"
    path.write_text(EXAMPLE)
    return path


def refused(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(PolicyErrors) as caught:
        load_policy(path)
    assert all(finding.hint for finding in caught.value.findings)
    return [(str(finding.where), finding.message) for finding in caught.value.findings]


def test_a_valid_policy_says_what_it_says(policy_file):
    loaded = load_policy(policy_file)
    policy = loaded.policy
    assert (policy.name, policy.model.source, policy.removal.layer) == ("example", "file:model", 7)
    assert policy.removal.learning_rate == 5e-5
    assert policy.rationale == "Because.\n"
    assert policy.forget[1].column == "text"
    assert policy.verification.selection.share == 0.3
    assert loaded.path == policy_file
    assert loaded.source == EXAMPLE.encode()
    assert loaded.sha256 == sha256_bytes(EXAMPLE.encode())


def test_where_finds_values_list_items_and_the_part_around_a_default():
    loaded = parse(EXAMPLE)
    assert loaded.where("removal", "layer") == "policy.yaml:23:10"
    assert loaded.where("removal", "train", "layers", 2) == "policy.yaml:24:26"
    assert loaded.where("verification", "utility", 1, "perplexity") == "policy.yaml:41:20"
    assert loaded.where("removal", "mask") == loaded.where("removal") == "policy.yaml:22:3"
    assert loaded.where() == "policy.yaml:2:1"


def test_files_are_looked_for_beside_the_policy_and_all_missing_ones_are_named(policy_file, monkeypatch):
    monkeypatch.chdir("/")
    load_policy(policy_file)
    for name in ("forget.jsonl", "cloze.jsonl"):
        (policy_file.parent / name).unlink()
    (policy_file.parent / "model").rmdir()
    folder = policy_file.parent
    assert refused(policy_file) == [
        (f"{policy_file}:12:11", f"there is no folder {folder / 'model'}"),
        (f"{policy_file}:14:13", f"there is no file {folder / 'forget.jsonl'}"),
        (f"{policy_file}:32:29", f"there is no file {folder / 'cloze.jsonl'}"),
        (f"{policy_file}:33:27", f"there is no file {folder / 'cloze.jsonl'}"),
    ]


def test_a_missing_file_is_found_in_a_policy_that_is_otherwise_wrong(policy_file):
    policy_file.write_text(changed("ceiling: 0.32", "ceiling: 1.32"))
    (policy_file.parent / "forget.jsonl").unlink()
    assert [where.rpartition("yaml:")[2] for where, _ in refused(policy_file)] == ["14:13", "38:33"]


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-of-that-name/x", "forget.jsonl/x", "."])
def test_paths_that_cannot_be_are_missing_files(policy_file, name):
    policy_file.write_text(changed('"file:forget.jsonl"', f'"file:{name}"'))
    assert [where.rpartition("yaml:")[2] for where, _ in refused(policy_file)] == ["14:13"]


def test_a_runs_copy_is_read_without_the_files_that_it_names():
    assert parse_policy(EXAMPLE.encode(), path=Path("/gone/policy.yaml")).policy.name == "example"


@pytest.mark.parametrize(
    ("name", "message"), [("none.yaml", "there is no such file"), (".", "this is a folder, not a policy")]
)
def test_no_file_no_policy(tmp_path, name, message):
    assert refused(tmp_path / name) == [(f"{tmp_path / name}:1:1", message)]


def test_the_digest_is_over_the_canonical_form_with_its_defaults():
    loaded = parse(EXAMPLE)
    value = loaded.policy.model_dump(mode="json", by_alias=True)
    assert value["schema"] == "govern/v1"
    assert value["removal"]["steps"] == 150
    assert loaded.digest == sha256_bytes(canonical_json(value))
    spelled_out = changed("  layer: 7\n", "  layer: 7\n  steps: 150\n")
    assert parse(spelled_out).digest == loaded.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment\n", ""),
        ("learning_rate: 5e-5", "learning_rate: 0.00005"),
        ("retain_weight: 1200", "retain_weight: 1.2e+3"),
        ("title: An example", 'title: "An example"'),
        ("owner: {name: A, role: B}", "owner:\n    role: B\n    name: A"),
        ("  layer: 7\n", "  layer: 0x7\n"),
    ],
)
def test_layout_and_spelling_leave_the_digest_alone(old, new):
    assert parse(changed(old, new)).digest == parse(EXAMPLE).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ceiling: 0.32", "ceiling: 0.33"),
        ("title: An example", "title: Another example"),
        ("layers: [5, 6, 7]", "layers: [7, 6, 5]"),
        ("  Because.", "  Because. "),
    ],
)
def test_what_a_policy_says_changes_the_digest(old, new):
    assert parse(changed(old, new)).digest != parse(EXAMPLE).digest


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(random):
    def shuffled(value):
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    loaded = parse(EXAMPLE)
    document = shuffled(loaded.policy.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    document["removal"]["method"] = "srmu"
    again = parse(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    assert again.digest == loaded.digest


def test_importing_the_policy_room_loads_no_model_library():
    heavy = {"torch", "transformers", "datasets", "lm_eval", "scipy", "numpy"}
    code = f"import sys, govern.policy; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
