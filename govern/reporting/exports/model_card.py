"""A Hugging Face model card: README.md with `model-index`, and `.eval_results/*.yaml` for sets that the hub has.

Sources: huggingface.co/docs/hub/model-cards and /eval-results. A number is the share of the certifying questions alone,
and its note says so: it is not a leaderboard's.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from govern.evaluation.official import OFFICIAL
from govern.records import TaskResult
from govern.reporting.document import RunDocument
from govern.reporting.exports.judged import hub_name, judged, plain_spaces
from govern.reporting.exports.protocol import Export
from govern.reporting.forms import METRICS, VERDICTS
from govern.reporting.not_claimed import not_claimed
from govern.reporting.text import clean, escape_markdown

_TASK: Final = "text-generation"
# The hub's own names for licences that our sources write in SPDX's; any other is "other", with its name beside it.
_LICENCES: Final = frozenset(
    {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "gemma"}
)


def model_card(document: RunDocument) -> dict[str, bytes]:
    """The card's files by name, for the folder of the edited model."""
    head = yaml.safe_dump(_metadata(document), sort_keys=False, allow_unicode=True, width=1000)
    files = {"README.md": f"---\n{head}---\n\n{_body(document)}".encode()}
    by_dataset: dict[str, list[dict[str, Any]]] = {}
    for result in _certified(document):
        if result.task in OFFICIAL:
            dataset = OFFICIAL[result.task][0].dataset
            by_dataset.setdefault(dataset.path, []).append(
                {
                    "dataset": {"id": dataset.path, "task_id": result.task, "revision": dataset.revision},
                    "value": result.after,
                    "date": document.report.issued,
                    "notes": f"{METRICS[result.metric]} of the edited model on the {result.n} certifying questions",
                }
            )
    for path, entries in by_dataset.items():
        name = f".eval_results/{path.rpartition('/')[2]}.yaml"
        files[name] = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000).encode()
    return files


def _certified(document: RunDocument) -> list[TaskResult]:
    return [result for result in document.verdict.results if result.part != "selection"]


def _metadata(document: RunDocument) -> dict[str, Any]:
    plan = document.plan
    base, licence = hub_name(plan.model.source), plan.model.licence
    datasets = sorted({name for corpus in plan.corpora if (name := hub_name(corpus.source))})
    return {
        **({"base_model": base, "base_model_relation": "finetune"} if base else {}),
        **_licence(licence),
        "library_name": "transformers",
        "pipeline_tag": _TASK,
        "tags": ["machine-unlearning", "govern", document.removal.method],
        **({"datasets": datasets} if datasets else {}),
        "model-index": [
            {"name": document.model_name, "results": [_result(document, result) for result in _certified(document)]}
        ],
    }


def _licence(licence: str | None) -> dict[str, str]:
    if licence is None:
        return {}
    known = licence.lower()
    return {"license": known} if known in _LICENCES else {"license": "other", "license_name": plain_spaces(licence)}


def _result(document: RunDocument, result: TaskResult) -> dict[str, Any]:
    """An entry of `model-index`. A set that the hub does not have is its own type, so that no two are taken for one."""
    official = OFFICIAL.get(result.task)
    digest = next((task.digest for task in document.plan.tasks if task.name == result.task), None)
    name = plain_spaces(result.task)
    dataset: dict[str, Any] = {"type": official[0].dataset.path if official else name, "name": name}
    if official:
        dataset |= {"config": result.task, "revision": official[0].dataset.revision}
    if digest:
        dataset["args"] = {"questions_sha256": digest}
    return {
        "task": {"type": _TASK},
        "dataset": dataset,
        "metrics": [
            {
                "type": "perplexity" if result.metric == "perplexity" else "accuracy",
                "value": result.after,
                "name": f"{METRICS[result.metric]} after the removal",
                "args": {
                    "before": result.before,
                    "interval": [result.after_interval.low, result.after_interval.high],
                    "n": result.n,
                },
            }
        ],
    }


def _body(document: RunDocument) -> str:
    plan, removal, verdict, report = document.plan, document.removal, document.verdict, document.report
    gates = "\n".join(
        f"| {_text(each.task)} | {_text(each.rule)} | {_text(each.finding)} | {VERDICTS[each.verdict]} |"
        for each in judged(verdict)
    )
    limits = "\n".join(f"- **{_text(fact.label)}.** {_text(fact.text)}" for fact in not_claimed(document))
    rationale = "\n\n".join(_text(paragraph) for paragraph in re.split(r"\n\s*\n", plan.rationale))
    solver = f", solver {removal.solver}" if removal.solver else ""
    return f"""\
# {_text(document.model_name)}

{_text(plan.title)}. Verdict of the removal: **{VERDICTS[verdict.verdict].lower()}**.

{rationale}

| gate | asked for | found | verdict |
|---|---|---|---|
{gates}

At {verdict.confidence:.0%} confidence, certification attempt {verdict.attempt} on these questions.

## What was done

- What had to go: {_text(plan.hazard_domain)} ({_text(plan.hazard_category)})
- From: {_text(plan.model.source)}, model digest `sha256:{plan.model.digest}`
- By: {_text(removal.method)}{_text(solver)}; {len(removal.tensors)} tensors changed
- The edited model's digest: `sha256:{verdict.edited_model_digest}`
- Answerable: {_text(plan.owner.name)}, {_text(plan.owner.role)}

{_said(document)}## What is not claimed

{limits}

## How to check it

This card can be written by anybody. The verdict is signed in the statement of the removal report of run
`{report.run}`, issued {report.issued} with key `sha256:{report.signer.fingerprint}`:

    govern report verify report.html
"""


def _said(document: RunDocument) -> str:
    """What the policy's people say of the model in use, each under a heading of its own."""
    said = document.plan.deployment
    return "".join(
        f"## {label}\n\n{_text(text)}\n\n"
        for label, text in (
            ("Intended use", said and said.intended_use),
            ("Residual risk", said and said.residual_risk),
            ("Monitoring", said and said.monitoring),
            ("Rollback", said and said.rollback),
        )
        if text
    )


def _text(text: str) -> str:
    return escape_markdown(clean(plain_spaces(text)))


EXPORT = Export(("document",), model_card)
