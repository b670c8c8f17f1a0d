"""A small valid policy that uses every part of the schema, and how tests spoil it."""

from pathlib import Path

from govern.errors import PolicyErrors
from govern.policy import LoadedPolicy, parse_policy

NAME = Path("policy.yaml")

EXAMPLE = """\
# a comment
schema: govern/v1
name: example
title: An example
rationale: |
  Because.
owner: {name: A, role: B}
hazard:
  domain: chemistry
  category: none
model:
  source: "file:model"
forget:
  - source: "file:forget.jsonl"
    topic: symbols
  - {source: "hf:owner/texts", subset: a, split: train, topic: more, documents: 10}
retain:
  - source: "self:"
    documents: 8
    max_tokens: 32
removal:
  method: srmu
  layer: 7
  train: {layers: [5, 6, 7]}
  coefficient: {sweep: {start: 1, stop: 170, step: 10}}
  retain_weight: 1200
  learning_rate: 5e-5
tasks:
  - name: own_letters
    file: letters.jsonl
    kind: letters
  - {name: own_cloze, file: cloze.jsonl, kind: cloze, cluster: fact, use: split}
  - {name: chooser, file: cloze.jsonl, kind: cloze, use: selection}
verification:
  confidence: 0.9
  forget:
    - {task: own_letters, ceiling: 0.4}
    - {task: wmdp_bio, ceiling: 0.32}
  utility:
    - {task: own_cloze, metric: acc_norm, floor: 0.5, max_drop: 0.05}
    - {perplexity: "self:", seed: 1, max_increase: 0.02}
  stress: []
review: {required: 1, roles: [safety-reviewer]}
"""


def parse(text: str) -> LoadedPolicy:
    return parse_policy(text.encode(), path=NAME)


def changed(old: str, new: str) -> str:
    """The example with its one `old` replaced."""
    assert EXAMPLE.count(old) == 1, old
    return EXAMPLE.replace(old, new)


def findings(text: str | bytes) -> list[tuple[str, str, str | None]]:
    """(line:column, message, hint) of everything that is wrong with a policy."""
    try:
        parse_policy(text.encode() if isinstance(text, str) else text, path=NAME)
    except PolicyErrors as errors:
        found = errors
    else:
        return []
    assert found.exit_code == 2
    assert all(str(finding.where).startswith("policy.yaml:") for finding in found.findings)
    return [
        (str(finding.where).removeprefix("policy.yaml:"), finding.message, finding.hint) for finding in found.findings
    ]
