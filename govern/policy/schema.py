"""What a policy may say. No torch here: a policy is read in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationError, create_model

from govern.errors import UsageError
from govern.evaluation.official import OFFICIAL, WIKITEXT, is_official
from govern.policy.gates import ForgetGate, PerplexityGate, TaskGate, VerificationPlan, WikitextGate
from govern.policy.inputs import DEFAULT_TOPIC, Model, Task, TextSource
from govern.policy.part import Name, Part, Problem, Text, did_you_mean
from govern.policy.people import DeploymentPlan, Hazard, Owner, Review, SubjectRequest
from govern.sources import parse_source
from govern.unlearning.external import ExternalSettings
from govern.unlearning.registry import METHODS, is_offered, method_named
from govern.unlearning.settings import MethodSettings
from govern.unlearning.srmu import Direction, ImportanceMap
from govern.unlearning.sweeping import grid_of, swept_coefficient

_MOST_POINTS = 10_000


class Axes(Part):
    """What a sweep tries beside the coefficients; where an axis is left out, the removal's own value."""

    importance: tuple[ImportanceMap, ...] = Field(default=(), description="Maps I to try.")
    direction: tuple[Direction, ...] = Field(default=(), description="Directions V to try.")
    retain_weight: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(), description="Weights α to try.")
    solver: tuple[Literal["gradient", "closed_form"], ...] = Field(
        default=(), description="Solvers to try; the closed form takes what it knows of the gradient's settings."
    )


if TYPE_CHECKING:
    Removal: TypeAlias = MethodSettings | ExternalSettings
else:
    Removal = Annotated[reduce(or_, (method.schema for method in METHODS.values())), Field(discriminator="method")]


class Policy(Part):
    """What must go, what must stay, and the thresholds that decide whether it did."""

    schema_version: Literal["govern/v1"] = Field(alias="schema", description="The version of this schema.")
    name: Name = Field(description="A short name; runs are named after it.")
    title: Text = Field(description="One line for the head of the report.")
    rationale: Text = Field(description="Why this knowledge has to go, and why these thresholds.")
    owner: Owner = Field(description="Who answers for the policy.")
    hazard: Hazard = Field(description="What kind of knowledge has to go.")
    request: SubjectRequest | None = Field(
        default=None,
        # Left out of the policy's digest where it is absent: a policy without it means what it meant before.
        exclude_if=lambda request: request is None,
        description="The privacy or copyright request that the policy serves, where it serves one.",
    )
    deployment: DeploymentPlan | None = Field(
        default=None,
        exclude_if=lambda deployment: deployment is None,  # as for `request`
        description="What only people can say: intended use, residual risk, monitoring, rollback.",
    )
    model: Model = Field(description="The model that the knowledge is removed from.")
    forget: tuple[TextSource, ...] = Field(min_length=1, description="Text that holds the knowledge to remove.")
    retain: tuple[TextSource, ...] = Field(min_length=1, description="Text whose effect on the model must stay.")
    removal: Removal = Field(description="The method and its settings.")
    sweep: Axes | None = Field(
        default=None,
        description="What a sweep tries beside the coefficients. `govern sweep` then chooses the settings.",
    )
    tasks: tuple[Task, ...] = Field(default=(), description="Question sets of the policy's own.")
    verification: VerificationPlan = Field(description="How the removal is judged.")
    review: Review = Field(default=Review(), description="Who has to sign the report.")

    def problems(self) -> Iterator[Problem]:
        """What only the whole policy shows."""
        yield from self._topics()
        yield from self._sources()
        yield from self._wikitext()
        yield from self._tasks()
        yield from self._gates()
        if isinstance(self.removal, ExternalSettings):
            yield from self._external(self.removal)
        else:
            yield from self._sweep(self.removal)

    @property
    def sweeps(self) -> bool:
        """Whether the removal's settings are for a sweep to choose."""
        return self.sweep is not None or swept_coefficient(self.removal) is not None

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """What a sweep tries beside the coefficients, by the name of the setting."""
        return self.sweep.model_dump() if self.sweep else {}

    def _external(self, removal: ExternalSettings) -> Iterator[Problem]:
        here = ("removal", "model")
        if self.sweep is not None:
            yield Problem(("sweep",), "a model that was edited elsewhere has no settings to sweep", "Remove it.")
        if self.model.trust_remote_code:
            yield Problem(
                ("model", "trust_remote_code"),
                "two models are compared without running code that comes with either",
                "Remove it. A model that needs code of its own cannot be verified as edited elsewhere.",
            )
        try:
            parse_source(removal.model.source)
        except UsageError as error:
            yield Problem((*here, "source"), error.message, error.hint)
            return
        edited = Model.model_construct(source=removal.model.source, revision=removal.model.revision)
        for problem in edited.problems():
            yield problem._replace(location=(*here, *problem.location))
        if (edited.source, edited.revision) == (self.model.source, self.model.revision):
            yield Problem((*here, "source"), "this is the base model itself", "Name the model that was edited.")

    def _sweep(self, removal: MethodSettings) -> Iterator[Problem]:
        known = type(self.removal).model_fields
        for name in (name for name, values in self.axes.items() if values and name not in known):
            yield Problem(("sweep", name), f"{self.removal.method} has no `{name}` to sweep", "Remove it.")
            return
        if found := swept_coefficient(removal):
            field, grid = found
            if not len(grid.sweep):
                yield Problem(("removal", field, "sweep", "stop"), "the grid ends before it starts", "Raise stop.")
                return
        count = math.prod(len(values) for values in self.axes.values() if values) * (len(grid.sweep) if found else 1)
        if count > _MOST_POINTS:
            where = ("removal", field) if found else ("sweep",)
            yield Problem(where, f"a sweep of {count} points", f"Try at most {_MOST_POINTS}.")
            return
        try:
            grid_of(removal, self.axes)
        except ValidationError as error:
            key = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
            if key.startswith(("coefficient", "scale")):
                yield Problem(
                    ("removal", key.partition(".")[0]),
                    "this method takes absolute coefficients alone",
                    "Write start, stop and step, or values.",
                )
            else:
                yield Problem(
                    ("sweep", "solver"),
                    f"the other solver needs `{key}`, which this removal does not have",
                    "Write the removal for the solver with more settings, gradient; the closed form takes its part.",
                )

    def _topics(self) -> Iterator[Problem]:
        topics = list(dict.fromkeys(text.topic or DEFAULT_TOPIC for text in self.forget))
        retained = {text.topic for text in self.retain}
        for index, text in enumerate(self.retain):
            if text.topic is not None and text.topic not in topics:
                hint = did_you_mean(text.topic, topics) or f"Forget topics: {', '.join(topics)}."
                yield Problem(("retain", index, "topic"), f"no forget text has the topic {text.topic!r}", hint)
        if retained - {None, *topics}:
            return  # a misspelt topic leaves another one without retain text
        for index, text in enumerate(self.forget):
            topic = text.topic or DEFAULT_TOPIC
            if not retained & {topic, None}:
                yield Problem(
                    ("forget", index), f"no retain text serves the topic {topic!r}", "Add one, or one without a topic."
                )

    def _sources(self) -> Iterator[Problem]:
        trained: dict[tuple[str | int | None, ...], str] = {}
        for index, text in enumerate(self.forget):
            if self.request is not None and parse_source(text.source).scheme == "hf":
                yield Problem(
                    ("forget", index, "source"),
                    "the text of a request comes from a file of its owner's",
                    "A public data set tells what is in it. Name a file: source.",
                )
            trained[text.identity(text.source)] = "forget"
            if parse_source(text.source).scheme == "self":
                yield Problem(
                    ("forget", index, "source"),
                    "self: cannot be forget text",
                    "Text sampled from the model is no body of knowledge; name a file: or hf: source.",
                )
        for text in self.retain:
            trained.setdefault(text.identity(text.source), "retain")
        for index, gate in enumerate(self.verification.utility):
            if not isinstance(gate, PerplexityGate) or gate.identity(gate.perplexity) not in trained:
                continue
            role = trained[gate.identity(gate.perplexity)]
            sampled = parse_source(gate.perplexity).scheme == "self"
            yield Problem(
                ("verification", "utility", index, "perplexity"),
                f"this is also {role} text, and a model is not judged on what it was trained on",
                "Give it another `seed` than the retain text's." if sampled else "Name other text, or another split.",
            )

    def _wikitext(self) -> Iterator[Problem]:
        gates = [i for i, gate in enumerate(self.verification.utility) if isinstance(gate, WikitextGate)]
        trained: list[tuple[str, TextSource]] = [("forget", text) for text in self.forget]
        trained += [("retain", text) for text in self.retain]
        for role, text in trained:
            source = parse_source(text.source)
            if gates and source.scheme == "hf" and text.split == "test" and "wikitext" in source.name.lower():
                yield Problem(
                    ("verification", "utility", gates[0], "task"),
                    f"WikiText's test split is also {role} text, and a model is not judged on what it was trained on",
                    "Train on the split train, or leave this gate out.",
                )
                return

    def _tasks(self) -> Iterator[Problem]:
        seen: set[str] = set()
        for index, task in enumerate(self.tasks):
            if task.name in seen:
                yield Problem(
                    ("tasks", index, "name"), f"there is already a task {task.name!r}", "Choose another name."
                )
            seen.add(task.name)
        gated = [gate.task for gate in self.verification.forget]
        gated += [gate.task for gate in self.verification.utility if isinstance(gate, TaskGate)]
        for index, task in enumerate(self.tasks):
            if task.selects is not None and task.selects not in gated:
                yield Problem(
                    ("tasks", index, "selects"),
                    f"no gate is about a task {task.selects!r}",
                    did_you_mean(task.selects, gated) or f"Gated tasks: {', '.join(dict.fromkeys(gated))}.",
                )

    def _gates(self) -> Iterator[Problem]:
        tasks = {task.name: task for task in reversed(self.tasks)}  # of two with one name, the first
        gates: list[tuple[str, int, ForgetGate | TaskGate]] = [
            ("forget", index, gate) for index, gate in enumerate(self.verification.forget)
        ]
        gates += [
            ("utility", index, gate)
            for index, gate in enumerate(self.verification.utility)
            if isinstance(gate, TaskGate)
        ]
        for group, index, gate in gates:
            location = ("verification", group, index)
            task = tasks.get(gate.task)
            if gate.task == WIKITEXT:
                yield Problem(
                    (*location, "task"),
                    "wikitext is text and asks no questions",
                    "It is a utility gate: {task: wikitext, max_increase: 0.02}.",
                )
            elif task is None and not is_official(gate.task):
                yield Problem(
                    (*location, "task"),
                    f"there is no task {gate.task!r}",
                    did_you_mean(gate.task, [*tasks, *OFFICIAL])
                    or "Own tasks are listed under `tasks`; official are wmdp_bio, wmdp_chem, wmdp_cyber, mmlu, "
                    "mmlu_SUBJECT, both with _continuation, and wikitext.",
                )
            if task is not None and task.use == "selection":
                yield Problem(
                    (*location, "task"),
                    f"the questions of {gate.task!r} choose settings and never certify",
                    "Gate a task whose `use` is certification or split.",
                )
            if gate.metric == "acc_norm" and (task is None or task.kind == "letters"):
                yield Problem((*location, "metric"), "acc_norm is for cloze tasks: letters have no length", "Use acc.")


def policy_class(value: Mapping[str, Any]) -> type[Policy]:
    """What a policy of these values is validated as: where another distribution offers its method, with the settings of
    that one, whose code is imported now. Raises UsageError where that cannot be used."""
    removal = value.get("removal")
    name = removal.get("method") if isinstance(removal, dict) else None
    if not isinstance(name, str) or not is_offered(name):
        return Policy
    settings = (method_named(name).schema, Field(description="The method and its settings."))
    made: type[Policy] = create_model("Policy", __base__=Policy, removal=settings)
    return made


@cache
def _generated() -> dict[str, Any]:
    return Policy.model_json_schema(by_alias=True)


def json_schema() -> dict[str, Any]:
    """The policy's JSON Schema (draft 2020-12), for editors. What spans several fields is checked on loading only."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_generated(), "title": "govern policy"}
