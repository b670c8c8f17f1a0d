"""A CycloneDX 1.7 ML-BOM: the edited model with its model card, and the gates as declarations.

Written as plain JSON, since the Python object model of CycloneDX knows neither `modelCard` nor `declarations`. The
gates, and the attacks with a limit, are the requirements of a standard, the policy; each has a claim about the edited
model (a counter-claim where it failed) with its record as evidence, and the attestation maps one to the other.
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from govern.digests import canonical_json
from govern.gates.registry import GATES
from govern.records import AttackResult, CorpusIdentity, Plan, TaskIdentity, TaskResult, TensorChange
from govern.records.base import Record
from govern.reporting.document import RunDocument
from govern.reporting.exports.judged import Judged, finding, hub_name, judged, plain_spaces, rule
from govern.reporting.exports.protocol import Export
from govern.reporting.forms import METRICS
from govern.reporting.not_claimed import not_claimed

_EDITED, _BASE, _DELTA = "model/edited", "model/base", "delta"


def ml_bom(document: RunDocument) -> bytes:
    """The bill of materials of a verified run, in RFC 8785 form. Its serial number follows from the verdict."""
    plan, removal, verdict, report = document.plan, document.removal, document.verdict, document.report
    texts = [_corpus(index, corpus) for index, corpus in enumerate(plan.corpora)]
    questions = [_questions(task) for task in plan.tasks]
    delta = {
        "type": "file",
        "bom-ref": _DELTA,
        "name": "delta.safetensors",
        "description": "The changed tensors, whole, bound to the base model.",
        "hashes": [{"alg": "SHA-256", "content": removal.delta_sha256}],
        "properties": [*map(_tensor, removal.tensors)],
    }
    govern = {"type": "application", "bom-ref": "govern", "name": "govern", "version": plan.environment.govern}
    return canonical_json(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.7",
            "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'urn:govern:verdict:{verdict.sha256}')}",
            "version": 1,
            "metadata": {
                "timestamp": report.issued,
                "tools": {"components": [govern]},
                "authors": [{"name": plain_spaces(plan.owner.name)}],
                "component": _edited_model(document),
                "properties": _properties(
                    run=report.run,
                    policy_digest=plan.policy_digest,
                    plan_digest=verdict.plan_digest,
                    verdict=verdict.verdict,
                    verdict_sha256=verdict.sha256,
                    audit_origin=report.audit_origin,
                    audit_seq=str(report.audit_seq),
                    audit_leaf=report.audit_leaf,
                    signer=report.signer.fingerprint,
                ),
            },
            "components": [_base_model(document, _BASE), delta, *texts, *questions],
            "dependencies": [
                {"ref": _EDITED, "dependsOn": [_BASE, _DELTA]},
                {"ref": _DELTA, "dependsOn": [text["bom-ref"] for text in texts]},
            ],
            "definitions": {"standards": [_policy(document)]},
            "declarations": _declarations(document),
        }
    )


def _edited_model(document: RunDocument) -> dict[str, Any]:
    plan, removal = document.plan, document.removal
    return {
        "type": "machine-learning-model",
        "bom-ref": _EDITED,
        "name": document.model_name,
        "description": plain_spaces(plan.title),
        **_licences(plan.model.licence),
        "pedigree": {
            "ancestors": [_base_model(document, f"{_BASE}/ancestor")],
            "notes": plain_spaces(
                f"{len(removal.tensors)} tensors were edited by {removal.method}"
                + (f", solver {removal.solver}" if removal.solver else "")
            ),
        },
        "modelCard": _model_card(document),
        "properties": _properties(model_digest=removal.edited_model_digest, base_model_digest=plan.model.digest),
    }


def _base_model(document: RunDocument, ref: str) -> dict[str, Any]:
    model = document.plan.model
    name = hub_name(model.source)
    revision = {"version": model.revision} if model.revision else {}
    package = f"pkg:huggingface/{name}" + (f"@{model.revision}" if model.revision else "")
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": plain_spaces(model.source),
        **revision,
        **({"purl": package} if name else {}),
        **_licences(model.licence),
        "properties": _properties(model_digest=model.digest),
    }


def _model_card(document: RunDocument) -> dict[str, Any]:
    plan = document.plan
    trained_on = [index for index, corpus in enumerate(plan.corpora) if corpus.role != "perplexity"]
    return {
        "modelParameters": {
            "task": "text-generation",
            "architectureFamily": "transformer",
            "modelArchitecture": plain_spaces(plan.model.architecture),
            "datasets": [{"ref": _corpus_ref(index)} for index in trained_on],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                metric
                for result in document.verdict.results
                for metric in (_metric(result, "before"), _metric(result, "after"))
            ]
        },
        "considerations": {
            **_said(plan),
            "technicalLimitations": [plain_spaces(f"{fact.label}: {fact.text}") for fact in not_claimed(document)],
            "performanceTradeoffs": [
                plain_spaces(f"{gate.task}: {rule(gate)}. {finding(gate)}")
                for gate in document.verdict.gates
                if GATES[gate.kind].group == "utility"
            ],
            "ethicalConsiderations": [
                {
                    "name": plain_spaces(f"{plan.hazard_domain} ({plan.hazard_category})"),
                    "mitigationStrategy": plain_spaces(plan.rationale),
                },
                *(
                    [{"name": plain_spaces(f"Residual risk: {plan.deployment.residual_risk}")}]
                    if plan.deployment and plan.deployment.residual_risk
                    else []
                ),
            ],
        },
        "properties": _properties(
            method=document.removal.method,
            seed=str(plan.seed),
            **{f"parameter.{name}": canonical_json(value).decode() for name, value in plan.parameters.items()},
        ),
    }


def _said(plan: Plan) -> dict[str, Any]:
    """What the policy's people say that the model is for."""
    said = plan.deployment and plan.deployment.intended_use
    return {"useCases": [plain_spaces(said)]} if said else {}


def _metric(result: TaskResult, when: str) -> dict[str, Any]:
    interval = getattr(result, f"{when}_interval")
    return {
        "type": METRICS[result.metric],
        "value": _number(getattr(result, when)),
        "slice": plain_spaces(f"{result.task}, {result.part}, {result.n} questions or texts, {when} the removal"),
        "confidenceInterval": {"lowerBound": _number(interval.low), "upperBound": _number(interval.high)},
    }


def _corpus_ref(index: int) -> str:
    return f"corpus/{index}"


def _corpus(index: int, corpus: CorpusIdentity) -> dict[str, Any]:
    name = hub_name(corpus.source)
    return {
        "type": "data",
        "bom-ref": _corpus_ref(index),
        "name": plain_spaces(corpus.source),
        **({"version": corpus.revision} if corpus.revision else {}),
        **({"purl": f"pkg:huggingface/datasets/{name}"} if name else {}),
        **_licences(corpus.licence),
        "data": [
            {
                "type": "dataset",
                "name": plain_spaces(f"{corpus.role} {corpus.topic}"),
                "contents": {
                    "properties": _properties(
                        tokens_sha256=corpus.digest,
                        documents=str(corpus.documents),
                        tokens=str(corpus.tokens),
                        max_tokens=str(corpus.max_tokens),
                        **{
                            field: value
                            for field in ("subset", "split", "column")
                            if (value := getattr(corpus, field)) is not None
                        },
                    )
                },
            }
        ],
    }


def _questions(task: TaskIdentity) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"questions/{task.name}",
        "name": plain_spaces(task.name),
        "data": [
            {
                "type": "dataset",
                "name": plain_spaces(f"questions, {task.kind}"),
                "contents": {
                    "properties": _properties(
                        source=task.source,
                        questions_sha256=task.digest,
                        certification=str(task.certification),
                        selection=str(task.selection),
                    )
                },
            }
        ],
    }


def _tensor(tensor: TensorChange) -> dict[str, str]:
    return {
        "name": "govern:tensor",
        "value": plain_spaces(
            f"{tensor.name} {tensor.dtype} {'x'.join(map(str, tensor.shape))} "
            f"relative change {_number(tensor.relative_change)}"
        ),
    }


def _policy(document: RunDocument) -> dict[str, Any]:
    plan = document.plan
    return {
        "bom-ref": "policy",
        "name": plain_spaces(plan.policy_name),
        "version": plan.policy_digest,
        "owner": plain_spaces(f"{plan.owner.name}, {plan.owner.role}"),
        "requirements": [
            {
                "bom-ref": f"requirement/{index}",
                "identifier": plain_spaces(str(each.name).replace("/", ".")),
                "text": plain_spaces(f"{each.task}: {each.rule}"),
            }
            for index, each in enumerate(judged(document.verdict))
        ],
    }


def _declarations(document: RunDocument) -> dict[str, Any]:
    """One claim for each gate and each attack. An attack without a limit is evidence that no requirement asks for."""
    verdict, report = document.verdict, document.report
    decided = [*enumerate(judged(verdict))]
    tried = [*enumerate((found for found in verdict.stress if found.verdict is None), len(decided))]
    return {
        "assessors": [
            {
                "bom-ref": "assessor",
                "thirdParty": False,
                "organization": {"name": f"holder of key sha256:{report.signer.fingerprint}"},
            }
        ],
        "claims": [
            *(_claim(index, f"{each.task}: {each.rule}: {each.verdict}", each.reason) for index, each in decided),
            *(
                _claim(index, f"{found.task}: attacked by {found.name}, without a limit", found.reason)
                for index, found in tried
            ),
        ],
        "evidence": [
            *(_evidence(index, str(each.name), each.finding, each.record, report.issued) for index, each in decided),
            *(
                _evidence(index, f"{found.task}/{found.name}", found.reason, found, report.issued)
                for index, found in tried
            ),
        ],
        "attestations": [
            {
                "summary": f"Verdict {verdict.verdict}, attempt {verdict.attempt} on these questions.",
                "assessor": "assessor",
                "map": [_mapping(index, each, verdict.confidence) for index, each in decided],
            }
        ],
        "affirmation": {
            "statement": f"The verdict is {verdict.verdict}. It is signed in the report's statement, not here: a bill "
            "of materials can be written by anybody."
        },
    }


def _claim(index: int, predicate: str, reasoning: str) -> dict[str, Any]:
    return {
        "bom-ref": f"claim/{index}",
        "target": _EDITED,
        "predicate": plain_spaces(predicate),
        "reasoning": plain_spaces(reasoning),
        "evidence": [f"evidence/{index}"],
    }


def _evidence(index: int, name: str, description: str, record: Record, created: str) -> dict[str, Any]:
    return {
        "bom-ref": f"evidence/{index}",
        "propertyName": f"urn:govern:{'attack' if isinstance(record, AttackResult) else 'gate'}:v1",
        "description": plain_spaces(description),
        "data": [
            {
                "name": plain_spaces(name),
                "contents": {
                    "attachment": {"contentType": "application/json", "content": record.canonical().decode()},
                },
            }
        ],
        "created": created,
    }


def _mapping(index: int, each: Judged, confidence: float) -> dict[str, Any]:
    """A gate that nobody could decide conforms neither wholly nor not at all, so it gets no score."""
    claim = [f"claim/{index}"]
    sides = {"pass": {"claims": claim}, "fail": {"counterClaims": claim}, "inconclusive": {}}
    score = {"pass": {"score": 1}, "fail": {"score": 0}, "inconclusive": {}}
    return {
        "requirement": f"requirement/{index}",
        **sides[each.verdict],
        "conformance": {**score[each.verdict], "rationale": plain_spaces(f"{each.verdict}: {each.reason}")},
        "confidence": {"score": confidence, "rationale": plain_spaces(each.method)},
    }


def _licences(licence: str | None) -> dict[str, Any]:
    """A licence by the name that its source gives it: whether that is an SPDX identifier is not ours to say."""
    return {"licenses": [{"license": {"name": plain_spaces(licence)}}]} if licence else {}


def _properties(**values: str) -> list[dict[str, str]]:
    return [
        {"name": plain_spaces(f"govern:{name}"), "value": plain_spaces(value)} for name, value in sorted(values.items())
    ]


def _number(value: float) -> str:
    return canonical_json(value).decode()


EXPORT = Export(("document",), ml_bom)
