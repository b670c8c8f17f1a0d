"""What a policy must and must not say, each with its place and words."""
# ruff: noqa: E501  the table of mistakes has one a line

import jsonschema
import pytest
from policy_example import EXAMPLE, changed, findings, parse

from govern.policy import PerplexityGate, Policy, TaskGate, json_schema
from govern.policy.part import PATTERNS
from govern.unlearning.registry import METHODS

REVISION = "0123456789abcdef0123456789abcdef01234567"
SELF_GATE = '{perplexity: "self:", seed: 1, max_increase: 0.02}'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # types: no value is turned into another one
        ("layer: 7", "layer: '7'", ("23:10", "removal.layer: expected a whole number, found the text '7'", "Remove the")),
        ("layer: 7", "layer: true", ("23:10", "removal.layer: expected a whole number, found true", "The decoder")),
        ("layer: 7", "layer: 7.5", ("23:10", "removal.layer: expected a whole number, found the number 7.5", "")),
        ("layer: 7", "layer: -1", ("23:10", "removal.layer: expected a number of at least 0, found the number -1", "")),
        ("title: An example", "title: 5", ("4:8", "title: expected text, found the number 5", "Put it in quotes.")),
        ("title: An example", "title:", ("4:7", "title: expected text, found nothing", "One line")),
        ("title: An example", "title: ' '", ("4:8", "title: expected some text, found the text ' '", "One line")),
        ("[safety-reviewer]", "safety-reviewer", ("43:30", "review.roles: expected a list, found the text", "The roles")),
        ("{name: A, role: B}", "A", ("7:8", "owner: expected a mapping (key: value), found the text 'A'", "Who")),
        ("1200", ".inf", ("26:18", "removal.retain_weight: expected a finite number, found the number inf", "α")),
        ("5e-5", ".nan", ("27:18", "removal.learning_rate: expected a finite number, found the number nan", "AdamW")),
        ("{name: A, role: B}", "{name: A, role: B}\nmodell: x", ("8:1", "unknown key 'modell' in the policy", "Did you mean 'model'?")),
        ("  category: none", "  zebra: x\n  category: none", ("10:3", "unknown key 'zebra' in hazard", "Known keys here: category, domain.")),
        ("  layer: 7\n", "", ("21:1", "missing key 'layer' in removal", "The decoder block")),
        ("title: An example\n", "", ("2:1", "missing key 'title' in the policy", "One line")),
        ("govern/v1", "govern/v2", ("2:9", "schema: expected govern/v1, found the text 'govern/v2'", "Did you mean")),
        ("name: example", "name: Example", ("3:7", "name: expected 1 to 64 lower-case letters", "")),
        ("name: example", "name: ../x", ("3:7", "name: expected 1 to 64 lower-case letters", "")),
        ("name: example", f"name: {'a' * 65}", ("3:7", "name: expected 1 to 64 lower-case letters", "")),
        ("kind: letters", "kind: leters", ("31:11", "tasks[0].kind: expected letters or cloze, found the text 'leters'", "Did you mean 'letters'?")),
        # thresholds
        ("ceiling: 0.32", "ceiling: 1.01", ("38:33", "verification.forget[1].ceiling: expected a number of at most 1", "")),
        ("ceiling: 0.32", "ceiling: -0.1", ("38:33", "verification.forget[1].ceiling: expected a number of at least 0", "")),
        ("floor: 0.5,", "floor: 50,", ("40:50", "verification.utility[0].floor: expected a number of at most 1", "")),
        ("max_drop: 0.05", "max_drop: 5", ("40:65", "verification.utility[0].max_drop: expected a number of at most 1", "")),
        ("max_increase: 0.02", "max_increase: -1", ("41:52", "verification.utility[1].max_increase: expected a number of at least 0", "")),
        ("confidence: 0.9", "confidence: 1", ("35:15", "verification.confidence: expected a number below 1", "")),
        ("confidence: 0.9", "confidence: 0.49", ("35:15", "verification.confidence: expected a number of at least 0.5", "")),
        ("required: 1", "required: -1", ("43:20", "review.required: expected a number of at least 0", "")),
        ("floor: 0.5, max_drop: 0.05", "", ("40:7", "verification.utility[0]: expected `floor`, `max_drop` or both", "")),
        ("stress: []", "stress: [{attack: relearn}]", ("42:12", "missing key 'text' in verification.stress[0]", "unrelated: retain text")),
        ("stress: []", "stress: [{bits: 4}]", ("42:12", "verification.stress[0]: expected standard or relearn or quantise or logit_lens or format", "")),
        ("stress: []", "stress: [standad]", ("42:12", "verification.stress[0]: expected standard, found the text 'standad'", "Did you mean 'standard'?")),
        ("stress: []", "stress: [{attack: quantise, bits: 3}]", ("42:37", "verification.stress[0].bits: expected 4 or 8", "")),
        ("layers: [5, 6, 7]", "layers: []", ("24:19", "removal.train.layers: expected a list of at least 1, found an empty list", "")),
        # tasks
        ("task: own_letters", "task: own_leters", ("37:14", "verification.forget[0].task: there is no task 'own_leters'", "Did you mean 'own_letters'?")),
        ("task: wmdp_bio", "task: wmdp_boi", ("38:14", "verification.forget[1].task: there is no task 'wmdp_boi'", "Did you mean 'wmdp_bio'?")),
        ("task: wmdp_bio", "task: zzz", ("38:14", "verification.forget[1].task: there is no task 'zzz'", "Own tasks are listed")),
        ("task: own_cloze", "task: chooser", ("40:14", "verification.utility[0].task: the questions of 'chooser' choose settings", "Gate a task")),
        ("ceiling: 0.4", "ceiling: 0.4, metric: acc_norm", ("37:49", "verification.forget[0].metric: acc_norm is for cloze tasks", "Use acc.")),
        ("ceiling: 0.32", "ceiling: 0.32, metric: acc_norm", ("38:47", "verification.forget[1].metric: acc_norm is for cloze tasks", "Use acc.")),
        ("name: chooser", "name: own_cloze", ("33:12", "tasks[2].name: there is already a task 'own_cloze'", "Choose another name.")),
        ("name: chooser", "name: mmlu_virology", ("33:12", "tasks[2].name: mmlu_virology is the name of an official task", "Choose another name.")),
        ("file: letters.jsonl", "file: file:letters.jsonl", ("30:11", "tasks[0].file: expected a path without file:", "Write the path alone.")),
        # sources
        ('"file:model"', '"model"', ("12:11", "model.source: 'model' names no source", "Expected builtin:")),
        ('"file:model"', '"self:"', ("12:11", "model.source: self: is text, not a model", "Expected")),
        ('"file:model"', f'"file:model"\n  revision: {REVISION}', ("13:13", "model.revision: a file: source has no revision", "Remove it")),
        ('"file:model"', '"hf:a/b"\n  revision: main', ("13:13", "model.revision: expected a full commit: 40 lower-case hex characters", "")),
        ('"file:forget.jsonl"', '"builtin:smollm2-135m-instruct"', ("14:13", "forget[0].source: builtin: is a model, not text", "Expected file:, hf: or self:.")),
        ('"file:forget.jsonl"', '"file:forget.jsonl"\n    split: train', ("15:12", "forget[0].split: `split` is for hf: sources, not for file:", "Remove it.")),
        ('"file:forget.jsonl"', '"file:forget.jsonl"\n    seed: 0', ("15:11", "forget[0].seed: `seed` is for self: sources, not for file:", "Remove it.")),
        ('"file:forget.jsonl"', '"self:"\n    documents: 4', ("14:13", "forget[0].source: self: cannot be forget text", "Text sampled")),
        ("split: train, ", "", ("16:5", "forget[1]: an hf: text needs `split`", "Name the split")),
        ("split: train, ", "split: 'train[:5%]', ", ("16:50", "forget[1].split: expected the name of a split", "")),
        ("    documents: 8\n", "", ("18:5", "retain[0]: a self: text needs `documents`", "Say how many")),
        ("documents: 8", "documents: 8\n    column: text", ("20:13", "retain[0].column: `column` is for hf: and file: sources, not for self:", "Remove it.")),
        ("documents: 8", "documents: 8\n    topic: symbol", ("20:12", "retain[0].topic: no forget text has the topic 'symbol'", "Did you mean 'symbols'?")),
        ("documents: 8", "documents: 8\n    topic: more", ("14:5", "forget[0]: no retain text serves the topic 'symbols'", "Add one")),
        # evaluation text that is also training text
        (SELF_GATE, '{perplexity: "self:", max_increase: 0.02}', ("41:20", "verification.utility[1].perplexity: this is also retain text", "Give it another `seed`")),
        (SELF_GATE, '{perplexity: "file:./forget.jsonl", max_increase: 0.02}', ("41:20", "verification.utility[1].perplexity: this is also forget text", "Name other text")),
        (SELF_GATE, '{perplexity: "hf:owner/texts", subset: a, split: train, max_increase: 0.02}', ("41:20", "verification.utility[1].perplexity: this is also forget text", "Name other text")),
    ],
)  # fmt: skip
def test_one_mistake_one_finding(old, new, expected):
    where, message, hint = expected
    [(found_where, found_message, found_hint)] = findings(changed(old, new))
    assert found_where == where
    assert found_message.startswith(message)
    assert (found_hint or "").startswith(hint)


COEFFICIENT = "{sweep: {start: 1, stop: 170, step: 10}}"
ANY_COEFFICIENT = (
    "removal.coefficient: expected a number above 0 or a mapping with relative or a mapping with sweep, found "
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("-3", [("25:16", "removal.coefficient: expected a number above 0, found the number -3")]),
        ("{relative: 0}", [("25:27", "removal.coefficient.relative: expected a number above 0, found the number 0")]),
        ("{relative: '5'}", [("25:27", "removal.coefficient.relative: expected a number, found the text '5'")]),
        ("{sweep: 5}", [("25:24", "removal.coefficient.sweep: expected a mapping (key: value), found the number 5")]),
        (
            "{sweep: {values: [1, 0]}}",
            [("25:37", "removal.coefficient.sweep.values[1]: expected a number above 0, found the number 0")],
        ),
        (
            "{sweep: {relative: []}}",
            [("25:35", "removal.coefficient.sweep.relative: expected a list of at least 1, found an empty list")],
        ),
        (
            "{sweep: {start: 1, stop: x, stp: 10}}",
            [
                ("25:17", "missing key 'step' in removal.coefficient.sweep"),
                ("25:41", "removal.coefficient.sweep.stop: expected a number, found the text 'x'"),
                ("25:44", "unknown key 'stp' in removal.coefficient.sweep"),
            ],
        ),
        ("many", [("25:16", ANY_COEFFICIENT + "the text 'many'")]),
        ("{relativ: 3}", [("25:16", ANY_COEFFICIENT + "a mapping")]),
        ("[1]", [("25:16", ANY_COEFFICIENT + "a list of 1")]),
        ("", [("25:15", ANY_COEFFICIENT + "nothing")]),
    ],
)
def test_of_a_choice_only_the_branch_that_was_meant_speaks(value, expected):
    assert [entry[:2] for entry in findings(changed(COEFFICIENT, value))] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", 1.0),
        ("{relative: 5}", {"relative": 5.0}),
        (COEFFICIENT, {"sweep": {"start": 1, "stop": 170, "step": 10}}),
        ("{sweep: {values: [3, 4]}}", {"sweep": {"values": [3, 4]}}),
        ("{sweep: {relative: [2]}}", {"sweep": {"relative": [2]}}),
    ],
)
def test_every_form_of_a_coefficient(value, expected):
    policy = parse(changed(COEFFICIENT, value)).policy
    assert policy.removal.model_dump(mode="json")["coefficient"] == expected


def test_a_gate_is_judged_as_what_its_keys_make_it():
    utility = parse(EXAMPLE).policy.verification.utility
    assert [type(gate) for gate in utility] == [TaskGate, PerplexityGate]
    both = changed(SELF_GATE, '{perplexity: "self:", seed: 1, max_increase: 0.02, floor: 0.5}')
    assert [entry[:2] for entry in findings(both)] == [("41:58", "unknown key 'floor' in verification.utility[1]")]
    assert [entry[1] for entry in findings(changed(SELF_GATE, "mmlu"))] == [
        "verification.utility[1]: expected a mapping (key: value), found the text 'mmlu'"
    ]


def test_everything_is_said_at_once_in_the_order_of_the_file():
    text = EXAMPLE
    for old, new in (
        ("name: example", "name: Example"),
        ("title: An example", "title: An example\ntitle: Another"),
        ("layer: 7", "layer: seven"),
        ("ceiling: 0.32", "ceiling: 99999999999999999999"),
        ("review: {required: 1, ", "review: {requird: 1, "),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert [where for where, _, _ in findings(text)] == ["3:7", "5:1", "24:10", "39:33", "44:10"]


def test_an_own_task_hides_no_other_finding_behind_a_repeated_name():
    assert len(findings(changed("name: chooser", "name: own_letters"))) == 1


def test_no_finding_is_pydantics_own_words():
    jargon = ("pydantic", "Input should", "validation", "instance of", "dictionary", "NoneType", "valid integer")
    for old, new in (
        ("forget:\n  - source", "forget:\n  x: y\nfoo:\n  - source"),
        ("tasks:\n", "tasks: {}\nfoo:\n"),
        ("removal:\n", "removal: []\nfoo:\n"),
        ("method: srmu", "method: [srmu]"),
        ("layers: [5, 6, 7]", "layers: [[5], a, null, {}]"),
        ("roles: [safety-reviewer]", "roles: [1, true, null]"),
        ("verification:\n", "verification: 5\nfoo:\n"),
    ):
        said = findings(changed(old, new))
        assert said
        assert not [entry for entry in said if any(word in f"{entry[1]} {entry[2]}" for word in jargon)]


def test_a_policy_without_options_has_these():
    text = changed("  confidence: 0.9\n", "").replace(
        "  stress: []\nreview: {required: 1, roles: [safety-reviewer]}\n", ""
    )
    policy = parse(text).policy
    assert (policy.verification.confidence, policy.verification.stress) == (0.95, ())
    assert (policy.review.required, policy.review.roles) == (0, ())
    gate = policy.verification.utility[1]
    assert isinstance(gate, PerplexityGate)
    assert (gate.documents, gate.max_tokens) == (64, 64)


def test_what_people_say_of_the_model_in_use_is_optional_and_old_digests_stay():
    """EXAMPLE says nothing of it; its digest is the one it had before the field was there."""
    silent = parse(EXAMPLE)
    assert "deployment" not in silent.policy.model_dump(mode="json", by_alias=True)
    assert silent.digest == "de3aab277742f3dca8e824f4546a87a623cde25447a00cb1f5f07deb6678dbcc"
    said = parse(EXAMPLE + "deployment: {rollback: The owner does.}\n")
    assert said.policy.deployment.rollback == "The owner does."
    assert said.policy.deployment.monitoring is None
    assert said.digest != silent.digest
    assert findings(EXAMPLE + "deployment: {}\n")[0][1] == "deployment: `deployment` says nothing"
    assert findings(EXAMPLE + "deployment: {monitoring: ' '}\n")[0][0] == "44:26"


def test_removal_is_what_the_registry_says():
    classes = {kind.__name__ for method in METHODS.values() for kind in method.kinds}
    assert {name for name in json_schema()["$defs"] if name.endswith("Settings")} == classes
    assert " ".join(METHODS) == (
        "srmu rmu adaptive_rmu ga grad_diff npo simnpo undial rklu depn llmu scrub ssd task_arithmetic quark external"
    )


SOLVE = "method: srmu\n  solver: closed_form"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("method: srmu", "method: smru", ("22:11", "removal.method: expected srmu or rmu or adaptive_rmu or ga or grad_diff", "Did you mean 'srmu'?")),
        ("method: srmu", "method: [srmu]", ("22:11", "removal.method: expected srmu or rmu or adaptive_rmu or ga or grad_diff", "")),
        ("  method: srmu\n", "", ("21:1", "missing key 'method' in removal", "")),
        ("removal:\n", "removal: 5\nunknown:\n", ("21:10", "removal: expected a mapping (key: value), found the number 5", "The method")),
        ("method: srmu", "method: srmu\n  solver: closed", ("23:11", "removal.solver: expected gradient or closed_form, found the text 'closed'", "")),
        ("method: srmu", SOLVE, ("28:3", "unknown key 'learning_rate' in removal", "Another choice here has this key")),
        ("  layer: 7\n", "  layer: 7\n  ridge: 0.1\n", ("24:3", "unknown key 'ridge' in removal", "Another choice here has this key")),
    ],
)  # fmt: skip
def test_methods_and_solvers_have_keys_of_their_own(old, new, expected):
    where, message, hint = expected
    found_where, found_message, found_hint = findings(changed(old, new))[0]
    assert found_where == where
    assert found_message.startswith(message)
    assert hint in (found_hint or "")


def test_every_method_and_solver_reads():
    solved = changed("method: srmu", f"{SOLVE}\n  ridge: 0.01").replace("  learning_rate: 5e-5\n", "")
    adaptive = changed("method: srmu", "method: adaptive_rmu").replace(
        f"  coefficient: {COEFFICIENT}\n", "  scale: 4\n"
    )
    for text, name in (
        (EXAMPLE, "SrmuSettings"),
        (solved, "SrmuClosedFormSettings"),
        (changed("method: srmu", "method: rmu"), "RmuSettings"),
        (adaptive, "AdaptiveRmuSettings"),
    ):
        assert type(parse(text).policy.removal).__name__ == name


def _objects(schema):
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def test_the_json_schema_describes_every_key():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema
    objects = list(_objects(schema))
    assert len(objects) > 12
    for part in objects:
        assert part["additionalProperties"] is False
        assert part["title"]
        assert part["description"]
        for key, value in part["properties"].items():
            assert "description" in value or "$ref" in value, (part["title"], key)


def test_every_pattern_has_words():
    def patterns(value):
        if isinstance(value, dict):
            yield from [value["pattern"]] if isinstance(value.get("pattern"), str) else []
            for inner in value.values():
                yield from patterns(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from patterns(inner)

    assert set(patterns(json_schema())) == set(PATTERNS)


def test_the_json_schema_agrees_with_loading():
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    value = parse(EXAMPLE).policy.model_dump(mode="json", by_alias=True)
    assert list(validator.iter_errors(value)) == []
    value["verification"]["forget"][0]["ceiling"] = 2
    assert list(validator.iter_errors(value))


def test_a_policy_is_frozen():
    policy = parse(EXAMPLE).policy
    with pytest.raises(ValueError, match="frozen"):
        policy.name = "other"  # type: ignore[misc]
    assert isinstance(policy, Policy)
