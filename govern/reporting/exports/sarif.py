"""SARIF 2.1.0 (OASIS): one result a gate, at the gate's place in the policy.

`kind` is pass, fail, or open for an inconclusive gate: "insufficient information to decide" (section 3.27.9).
"""

from __future__ import annotations

from typing import Any

from govern.digests import canonical_json
from govern.gates.registry import KINDS
from govern.records import VerdictValue, Waiver
from govern.reporting.document import RunDocument
from govern.reporting.exports.judged import Judged, judged, plain_spaces
from govern.reporting.exports.protocol import Export, GatePlace

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_KINDS: dict[VerdictValue, str] = {"pass": "pass", "fail": "fail", "inconclusive": "open"}
_EXIT: dict[VerdictValue, int] = {"pass": 0, "fail": 3, "inconclusive": 5}


def sarif(
    document: RunDocument, *, policy_uri: str, places: tuple[GatePlace, ...], waivers: tuple[Waiver, ...] = ()
) -> bytes:
    """The gates of a run as SARIF.

    `policy_uri` is relative to the repository; `places` has one entry for each gate and each attack with a limit.
    `waivers` are those in force for this report: each becomes an accepted suppression (section 3.35), which leaves the
    result's kind and level, and the exit code, what they are.
    """
    plan, verdict = document.plan, document.verdict
    kinds = list(KINDS)
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "govern",
                "version": plan.environment.govern,
                "rules": [
                    {
                        "id": kind.name,
                        "name": "".join(word.capitalize() for word in kind.name.split("_")),
                        "shortDescription": {"text": f"{kind.title}."},
                        "fullDescription": {"text": kind.text},
                        "defaultConfiguration": {"level": "error"},
                    }
                    for kind in KINDS.values()
                ],
            }
        },
        "automationDetails": {"id": f"govern/{plan.policy_name}/{verdict.run}"},
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": _EXIT[verdict.verdict],
                "endTimeUtc": document.report.issued,
            }
        ],
        "artifacts": [{"location": {"uri": policy_uri}, "hashes": {"sha-256": plan.policy_sha256}}],
        "results": [
            _result(each, kinds.index(each.kind), place, policy_uri, waivers)
            for each, place in zip(judged(verdict), places, strict=True)
        ],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": verdict.verdict,
            "verdict_sha256": verdict.sha256,
            "model_before": plan.model.digest,
            "model_after": verdict.edited_model_digest,
        },
    }
    return canonical_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(each: Judged, index: int, place: GatePlace, policy_uri: str, waivers: tuple[Waiver, ...]) -> dict[str, Any]:
    waived = [_suppression(waiver) for waiver in waivers if waiver.gate == each.name]
    return {
        **({"suppressions": waived} if waived else {}),
        "ruleId": each.kind,
        "ruleIndex": index,
        "kind": _KINDS[each.verdict],
        "level": "error" if each.verdict == "fail" else "none",
        "message": {"text": plain_spaces(f"{each.task}: {each.rule}. {each.finding}. {each.reason}")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": policy_uri, "index": 0},
                    "region": {"startLine": place.line, "startColumn": place.column},
                }
            }
        ],
        "partialFingerprints": {"gate/v1": each.key},
        "properties": each.record.to_json(),
    }


def _suppression(waiver: Waiver) -> dict[str, Any]:
    approver = f"{waiver.approver.person}, {waiver.approver.role}"
    return {
        "kind": "external",
        "status": "accepted",
        "justification": plain_spaces(f"Waived until {waiver.until} by {approver}: {waiver.reason}"),
        "properties": {"until": waiver.until, "report": waiver.report},
    }


EXPORT = Export(("document", "policy_uri", "places", "waivers"), sarif)
