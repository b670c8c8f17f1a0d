"""In-toto statements about the edit, beside the report's own: what was tested, what was removed, and how it was made.

Each follows from the run's records alone, so whoever has the records can write it again and compare.
Sources: in-toto/attestation, predicates test-result v0.1 and provenance v1 (slsa.dev/spec/v1.0/provenance).
"""

from __future__ import annotations

from typing import Any, Final

from govern.evidence.names import (
    DELTA,
    GATES_BUNDLE,
    PLAN,
    POLICY,
    PROVENANCE_BUNDLE,
    REMOVAL,
    REMOVAL_BUNDLE,
)
from govern.records import Plan, Removal, Verdict, VerdictValue
from govern.signing.statement import make_statement

TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
REMOVAL_PREDICATE: Final = "urn:govern:predicate:removal:v1"
BUILD_TYPE: Final = "urn:govern:build:removal:v1"

_RESULT: dict[VerdictValue, str] = {"pass": "PASSED", "inconclusive": "WARNED", "fail": "FAILED"}


def edit_statements(plan: Plan, removal: Removal, verdict: Verdict) -> dict[str, bytes]:
    """The three statements over a run's delta, ready to sign, by the name of the bundle that will hold each."""
    subject = {DELTA: removal.delta_sha256}
    return {
        GATES_BUNDLE: make_statement(subject, TEST_RESULT, _test_result(plan, verdict)),
        REMOVAL_BUNDLE: make_statement(subject, REMOVAL_PREDICATE, _removal(plan, removal)),
        PROVENANCE_BUNDLE: make_statement(subject, PROVENANCE, _provenance(plan, removal)),
    }


def _test_result(plan: Plan, verdict: Verdict) -> dict[str, Any]:
    def named(value: VerdictValue) -> list[str]:
        gates = [f"{gate.task} {gate.metric} {gate.kind}" for gate in verdict.gates if gate.verdict == value]
        return gates + [f"{found.task} recovery {found.name}" for found in verdict.stress if found.verdict == value]

    return {
        "result": _RESULT[verdict.verdict],
        "configuration": [_resource(POLICY, plan.policy_sha256), _resource(PLAN, plan.sha256)],
        "passedTests": named("pass"),
        "warnedTests": named("inconclusive"),
        "failedTests": named("fail"),
    }


def _removal(plan: Plan, removal: Removal) -> dict[str, Any]:
    return {
        "run": removal.run,
        "policy": plan.policy_digest,
        "plan": removal.plan_digest,
        "removal": removal.sha256,
        "method": removal.method,
        "solver": removal.solver,
        "modelBefore": removal.base_model_digest,
        "modelAfter": removal.edited_model_digest,
        "tensors": [tensor.name for tensor in removal.tensors],
    }


def _provenance(plan: Plan, removal: Removal) -> dict[str, Any]:
    texts = [
        {**_resource(f"{corpus.role} {corpus.topic}", corpus.digest), "uri": corpus.source} for corpus in plan.corpora
    ]
    models = [{**_resource("model", plan.model.digest), "uri": plan.model.source}]
    if plan.edited:
        models.append({**_resource("edited model", plan.edited.digest), "uri": plan.edited.source})
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"policy": _resource(POLICY, plan.policy_sha256)},
            "internalParameters": {"method": plan.method, "parameters": plan.parameters, "seed": plan.seed},
            "resolvedDependencies": [*models, *texts],
        },
        "runDetails": {
            "builder": {"id": "urn:govern:builder", "version": {"govern": plan.environment.govern}},
            "metadata": {"invocationId": removal.run},
            "byproducts": [_resource(REMOVAL, removal.sha256)],
        },
    }


def _resource(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}
