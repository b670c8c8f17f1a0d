"""Make the golden workspace with whichever govern is on the path: `python make.py /golden`.

    git worktree add ../before COMMIT
    PYTHONPATH=../before:../before/tests:../before/tests/workflow python tests/golden/make.py /golden
    tar -C /golden --sort=name --owner=0 --group=0 --numeric-owner -cJf tests/golden/golden.tar.xz .

It is made under a short path of its own, so that what is kept names no folder of the machine; the private keys are
left behind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from govern.workflow.evidence import pack
from govern.workflow.keys import log_key_path, make_log_key
from govern.workflow.methods import Comparison
from govern.workflow.review import review
from govern.workflow.revoke import revoke
from govern.workflow.site import publish_site
from govern.workflow.sweep import sweep
from govern.workflow.trust import add_key, init_trust
from govern.workflow.waive import waive
from review_team import PEOPLE
from tiny_models import save_tiny_model
from tiny_policy import FORGET, RETAIN, questions, write_jsonl

import govern
from govern.signing import SigningKey, generate_key, load_key

PASSWORD = b"password"
FORMS = {
    "cyclonedx": "model.cdx.json",
    "junit": "junit.xml",
    "sarif": "results.sarif",
    "json": "run.json",
    "model-card": "card",
}

POLICY = """\
schema: govern/v1
name: tiny
title: Forget the vault and safe numbers
rationale: A random model, so that every path of the workflow runs in a second.
owner: {name: Ada Example, role: governance engineer}
hazard: {domain: locks, category: test}
model: {source: "file:../model"}
forget:
  - {source: "file:vaults.jsonl", max_tokens: 24, topic: vaults}
  - {source: "file:safes.jsonl", max_tokens: 24, topic: safes}
retain:
  - {source: "file:retain.jsonl", max_tokens: 24}
  - {source: "self:", documents: 8, max_tokens: 16, seed: 1}
REMOVALtasks:
  - {name: secret, file: secret.jsonl, kind: cloze, cluster: fact, use: split}
  - {name: colour, file: colour.jsonl, kind: cloze, cluster: fact, use: split}
verification:
  selection: {share: 0.5}
  forget: [{task: secret, ceiling: CEILING}]
  utility:
    - {task: colour, max_drop: 0.7}
    - {task: colour, metric: acc_norm, floor: FLOOR}
    - {perplexity: "self:", max_increase: 5.0, documents: 8, max_tokens: 16, seed: 2}
  stress:
ATTACKSreview: {required: 2, roles: [safety-reviewer]}
"""
SWEPT = """\
removal:
  method: srmu
  solver: gradient
  layer: 2
  train: {modules: [mlp.down_proj], layers: [1, 2]}
  dtype: float32
  coefficient: {sweep: {values: [2, 8]}}
  retain_weight: 10
  steps: 8
  batch_size: 2
  learning_rate: 1e-2
  seed: 0
"""
FIXED = """\
removal:
  method: grad_diff
  dtype: float32
  steps: 4
  batch_size: 2
  learning_rate: 1e-4
  seed: 0
"""
RELEARN = "attack: relearn, text: unrelated, documents: 4, epochs: 1, lora_rank: 2, questions: 8, max_recovery"
WIDE = f"""\
    - {{{RELEARN}: 0.5}}
    - {{attack: quantise, bits: 4, questions: 8}}
    - {{attack: format, form: letters, questions: 8, max_recovery: 1}}
"""
NARROW = """\
    - {attack: quantise, bits: 4, questions: 8, max_recovery: 0.1}
    - {attack: logit_lens, questions: 8}
"""


def write_policy(folder: Path, removal: str, ceiling: float, floor: float, attacks: str) -> Path:
    """The same name each time, so that the site compares the runs."""
    text = POLICY.replace("REMOVAL", removal).replace("ATTACKS", attacks)
    path = folder / "tiny.yaml"
    path.write_text(text.replace("CEILING", str(ceiling)).replace("FLOOR", str(floor)))
    return path


def make_keys(workspace: Path) -> dict[str, SigningKey]:
    keys = {}
    for name in (*PEOPLE, "root"):
        path = workspace / "keys" / f"{name}.pem"
        generate_key(path, PASSWORD)
        keys[name] = load_key(path, PASSWORD)
    init_trust(workspace, root=keys["root"])
    for name, (person, role) in PEOPLE.items():
        add_key(workspace, keys[name].public, person=person, role=role, root=keys["root"])
    return keys


def say(folder: Path, *words: str) -> bytes:
    """What the command prints in a folder, in a terminal of a fixed width."""
    env = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        (sys.executable, "-m", "govern", *words), check=True, capture_output=True, env=env, cwd=folder
    ).stdout


def main(root: Path) -> None:
    """Everything that the tests beside this file read."""
    workspace, policies = root / "audits", root / "policies"
    policies.mkdir(parents=True)
    save_tiny_model("llama", root / "model")
    write_jsonl(policies / "vaults.jsonl", [{"text": text} for text in FORGET])
    safes = [{"text": f"The code of safe {n} is {n * 11 % 97} and then a pause."} for n in range(12)]
    write_jsonl(policies / "safes.jsonl", safes)
    write_jsonl(policies / "retain.jsonl", [{"text": text} for text in RETAIN])
    write_jsonl(policies / "secret.jsonl", questions("secret", 48))
    write_jsonl(policies / "colour.jsonl", questions("colour", 24))
    keys = make_keys(workspace)
    log_key = make_log_key(workspace, log_key_path(workspace), PASSWORD)

    policy = write_policy(policies, FIXED, 0.01, 0.9, NARROW)
    compared = Comparison(("grad_diff", "ssd"), points=2, budget=0.05)
    sweep(policy, workspace=workspace, compared=compared, key=keys["ian"])
    failed = govern.apply(policy, workspace=workspace).run
    govern.verify(workspace=workspace, key=keys["ian"])
    waive(
        None,
        gate="colour/acc_norm",
        until="2099-01-01T00:00:00Z",
        reason="Colours do not matter in the pilot.",
        workspace=workspace,
        key=keys["max"],
    )
    exports(failed.id, root)
    revoke(None, reason="Overtaken by a better one.", workspace=workspace, key=keys["lea"])

    policy = write_policy(policies, SWEPT, 0.35, 0.01, WIDE)
    govern.sweep(policy, workspace=workspace)
    kept = govern.apply(policy, workspace=workspace).run
    govern.verify(workspace=workspace)
    waive(
        None,
        gate="secret/acc",
        until="2099-01-01T00:00:00Z",
        reason="For the pilot.",
        workspace=workspace,
        key=keys["max"],
    )
    govern.verify(workspace=workspace, key=keys["ian"], seed=20260101)
    for who, comment in (("ada", "Read all of it."), ("bob", "Asked for the answers and read them.")):
        review(None, decision="approve", comment=comment, workspace=workspace, key=keys[who])
    exports(kept.id, root)
    pack(kept.id, root / "pack", workspace=workspace, log_key=log_key)
    pack(failed.id, root / "pack_revoked", workspace=workspace, log_key=log_key)
    for name, words in {"compare.json": ["--json"], "compare.txt": []}.items():
        told = say(root / "policies", "compare", failed.id, kept.id, "--workspace", str(workspace), *words)
        (root / "exports" / name).write_bytes(told)
    # Of a copy, so that the workspace's log ends where the site says that it stands.
    shutil.copytree(workspace, root / "copy")
    publish_site(root / "site", workspace=root / "copy", key=keys["ian"])
    shutil.rmtree(root / "copy")
    for key in (*workspace.rglob("*.pem"), log_key_path(workspace)):
        key.unlink(missing_ok=True)
    shutil.rmtree(root / "model")
    (root / "runs.json").write_text(json.dumps({"failed": failed.id, "kept": kept.id}) + "\n")


def exports(run: str, root: Path) -> None:
    folder = root / "exports" / run
    folder.mkdir(parents=True)
    for form, name in FORMS.items():
        where = ("--out", str(folder / name), "--workspace", str(root / "audits"))
        say(root / "policies", "report", "export", run, "--format", form, *where)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
