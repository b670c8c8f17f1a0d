"""What a policy may say. No torch here: a policy is read in milliseconds."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from govern.errors import UsageError
from govern.evaluation.official import OFFICIAL, WIKITEXT, is_official
from govern.sources import parse_source
from govern.stress.settings import Relearning, StressEntry
from govern.unlearning.external import ExternalSettings
from govern.unlearning.registry import METHODS, is_offered, method_named
from govern.unlearning.settings import MethodSettings
from govern.unlearning.srmu import Direction, ImportanceMap
from govern.unlearning.sweeping import grid_of, swept_coefficient

NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
WORD = r"^[a-z0-9][a-z0-9_-]{0,63}$"
REVISION = r"^[0-9a-f]{40}$"
REQUEST = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$"
SPLIT = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
TEXT = r"\S"

PATTERNS = {
    NAME: "1 to 64 lower-case letters, digits and hyphens, not beginning with a hyphen",
    WORD: "1 to 64 lower-case letters, digits, hyphens and underscores, beginning with a letter or a digit",
    REVISION: "a full commit: 40 lower-case hex characters",
    REQUEST: "1 to 64 letters, digits, dots, slashes, hyphens and underscores, such as DSR-2026-0142",
    SPLIT: "the name of a split such as train (no slices; take the first N with `documents`)",
    TEXT: "some text",
}
"""What each pattern of this schema asks for, in words."""

DEFAULT_TOPIC = "default"

_MOST_POINTS = 10_000


class Problem(NamedTuple):
    """Something that one field alone does not show. `location` is relative to the part that found it."""

    location: tuple[str | int, ...]
    message: str
    hint: str | None = None


class Part(BaseModel):
    """A part of a policy: frozen, strict about unknown keys; whether it fits together is for `problems` to say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def problems(self) -> Iterator[Problem]:
        """What is wrong between this part's fields."""
        yield from ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found = [
            InitErrorDetails(
                type=PydanticCustomError("policy", "{message}", {"message": problem.message, "hint": problem.hint}),
                loc=problem.location,
                input=None,
            )
            for problem in self.problems()
        ]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self


def _known_scheme(text: str) -> str:
    try:
        parse_source(text)
    except UsageError as error:
        raise PydanticCustomError("policy", "{message}", {"message": error.message, "hint": error.hint}) from None
    return text


Name = Annotated[str, Field(pattern=NAME)]
Word = Annotated[str, Field(pattern=WORD)]
Text = Annotated[str, Field(pattern=TEXT)]
SourceText = Annotated[Text, AfterValidator(_known_scheme)]
Revision = Annotated[str, Field(pattern=REVISION)]
Split = Annotated[str, Field(pattern=SPLIT)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]
Metric = Literal["acc", "acc_norm"]


class Owner(Part):
    """Who answers for the policy."""

    name: Text = Field(description="The person or team.")
    role: Text = Field(description="Their role.")


class Hazard(Part):
    """What kind of knowledge has to go."""

    domain: Text = Field(description="The field of knowledge, such as biology.")
    category: Text = Field(description="The kind of harm, such as CBRN, cyber, privacy or copyright.")


class Deployment(Part):
    """What only people can say about the edited model in use; the report repeats it, and says where it is silent."""

    intended_use: Text | None = Field(default=None, description="What the edited model is for, and what it is not for.")
    residual_risk: Text | None = Field(
        default=None, description="The risk that stays after the removal, and why it is accepted."
    )
    monitoring: Text | None = Field(
        default=None, description="How the model is watched in use, by whom, and what raises an alarm."
    )
    rollback: Text | None = Field(
        default=None,
        description="Who takes the model back, and on which sign. The base model's digest is in the report.",
    )

    def problems(self) -> Iterator[Problem]:
        """A part that says nothing would read as if somebody had thought about it."""
        if not any(getattr(self, name) for name in type(self).model_fields):
            yield Problem((), "`deployment` says nothing", "Remove it, or write one of its fields.")


class Request(Part):
    """The request that a policy serves. Whose it is, only salted fingerprints say."""

    kind: Literal["privacy", "copyright"] = Field(description="What kind of request it is.")
    id: Annotated[str, Field(pattern=REQUEST)] = Field(description="The request's number in your own books, no name.")
    fingerprints: Text = Field(
        description="JSON by `govern policy fingerprint`, relative to the policy: what the text to forget is about."
    )

    def problems(self) -> Iterator[Problem]:
        """A plain path."""
        if self.fingerprints.startswith("file:"):
            yield Problem(("fingerprints",), "expected a path without file:", "Write the path alone.")


class Model(Part):
    """The model that the knowledge is removed from."""

    source: SourceText = Field(description="builtin:NAME, file:FOLDER (relative to the policy) or hf:OWNER/NAME.")
    revision: Revision | None = Field(default=None, description="hf: only. The commit, 40 hex characters.")
    trust_remote_code: bool = Field(
        default=False, description="Run code that comes with the model. The report says so where it is true."
    )

    def problems(self) -> Iterator[Problem]:
        """A model is not sampled text, and only the hub has revisions."""
        scheme = parse_source(self.source).scheme
        if scheme == "self":
            yield Problem(("source",), "self: is text, not a model", "Expected builtin:, file: or hf:.")
        elif scheme != "hf" and self.revision is not None:
            yield Problem(
                ("revision",), f"a {scheme}: source has no revision", "Remove it; the digest binds the model."
            )


_ONLY_FOR = {
    "subset": ("hf",),
    "split": ("hf",),
    "column": ("hf", "file"),
    "revision": ("hf",),
    "seed": ("self",),
}
"""The fields of a text that mean something for some schemes only."""


class TextFields(Part):
    """Where text comes from and how much of it is used, whatever it is for."""

    subset: Text | None = Field(default=None, description="hf: only. The data set's configuration.")
    split: Split | None = Field(default=None, description="hf: only, and required there. The split, such as train.")
    column: Text = Field(default="text", description="hf: and file: only. The column that holds the text.")
    revision: Revision | None = Field(default=None, description="hf: only. The commit, 40 hex characters.")
    seed: Seed = Field(default=0, description="self: only. The seed of the sampling.")

    def misplaced(self, source: str) -> Iterator[Problem]:
        """Fields that say nothing about this kind of source, and what the hub needs."""
        scheme = parse_source(source).scheme
        for name, schemes in _ONLY_FOR.items():
            if name in self.model_fields_set and scheme not in schemes:
                expected = " and ".join(f"{scheme}:" for scheme in schemes)
                yield Problem((name,), f"`{name}` is for {expected} sources, not for {scheme}:", "Remove it.")
        if scheme == "hf" and self.split is None:
            yield Problem((), "an hf: text needs `split`", "Name the split that is read, such as train.")

    def identity(self, source: str) -> tuple[str | int | None, ...]:
        """What makes two texts the same text."""
        scheme, name = parse_source(source).scheme, parse_source(source).name
        return {
            "file": ("file", posixpath.normpath(name)),
            "hf": ("hf", name, self.subset, self.split),
            "self": ("self", self.seed),
        }.get(scheme, (scheme, name))


class TextSource(TextFields):
    """Text that holds the hazard, or text whose effect on the model must stay."""

    source: SourceText = Field(
        description="file:PATH (jsonl, txt or parquet, relative to the policy), hf:OWNER/NAME, or for retain text "
        "self: (sampled from the model itself)."
    )
    topic: Word | None = Field(
        default=None,
        description="The body of knowledge. Forget text without one is about `default`; retain text without one "
        "serves every topic.",
    )
    max_tokens: int = Field(default=512, ge=2, description="Tokens at which a document is cut.")
    documents: int | None = Field(
        default=None, ge=1, description="The first N documents; for self: the number sampled, and required."
    )

    def problems(self) -> Iterator[Problem]:
        """Text comes from files, the hub or the model, each with its own fields."""
        scheme = parse_source(self.source).scheme
        if scheme == "builtin":
            yield Problem(("source",), "builtin: is a model, not text", "Expected file:, hf: or self:.")
            return
        yield from self.misplaced(self.source)
        if scheme == "self" and self.documents is None:
            yield Problem((), "a self: text needs `documents`", "Say how many documents the model samples.")


class Task(Part):
    """A question set of the policy's own."""

    name: Word = Field(description="The name that gates use.")
    file: Text = Field(
        description="JSONL, relative to the policy; each line holds `question`, `choices` and `answer` (an index)."
    )
    kind: Literal["letters", "cloze"] = Field(
        description="letters: the choices are shown and a letter is asked for. cloze: how likely each choice follows."
    )
    cluster: Text | None = Field(
        default=None, description="The column that says which fact a question is about, where several share one."
    )
    use: Literal["certification", "selection", "split"] = Field(
        default="certification", description="What its questions do: certify, choose settings, or split by hash."
    )
    selects: Word | None = Field(
        default=None,
        description="use: selection only. The gated task whose place these questions take in a sweep.",
    )

    def problems(self) -> Iterator[Problem]:
        """An own name, a plain path, and questions that choose settings for another task only where they do."""
        if self.selects is not None and self.use != "selection":
            yield Problem(("selects",), "`selects` is for tasks of use: selection", "Remove it.")
        if is_official(self.name):
            yield Problem(("name",), f"{self.name} is the name of an official task", "Choose another name.")
        if self.file.startswith("file:"):
            yield Problem(("file",), "expected a path without file:", "Write the path alone.")


class Axes(Part):
    """What a sweep tries beside the coefficients; where an axis is left out, the removal's own value."""

    importance: tuple[ImportanceMap, ...] = Field(default=(), description="Maps I to try.")
    direction: tuple[Direction, ...] = Field(default=(), description="Directions V to try.")
    retain_weight: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(), description="Weights α to try.")
    solver: tuple[Literal["gradient", "closed_form"], ...] = Field(
        default=(), description="Solvers to try; the closed form takes what it knows of the gradient's settings."
    )


class Selection(Part):
    """Which questions choose settings."""

    share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.3, description="The share of questions that chooses settings and never certifies."
    )
    attack: Relearning | None = Field(
        default=None,
        exclude_if=lambda attack: attack is None,
        description="What every point of a sweep is put to as well; of the points that qualify, the one is chosen that "
        "withstands it best.",
    )

    def problems(self) -> Iterator[Problem]:
        """A limit that would decide nothing."""
        if self.attack is not None and self.attack.max_recovery is not None:
            yield Problem(
                ("attack", "max_recovery"),
                "a sweep compares points under its attack and holds none against a limit",
                "Remove it, or list the attack under `stress` as well.",
            )


class ForgetGate(Part):
    """A ceiling: what the edited model may still know."""

    task: Word = Field(
        description="An own task or an official one (wmdp_bio, wmdp_chem, wmdp_cyber, mmlu, mmlu_SUBJECT, or "
        "mmlu_continuation, mmlu_SUBJECT_continuation: without letters)."
    )
    ceiling: Share = Field(description="The accuracy that the upper confidence bound must not exceed.")
    metric: Metric = Field(default="acc", description="acc, or acc_norm for cloze tasks.")


class TaskGate(Part):
    """A floor or a largest drop: what the edited model must still know."""

    task: Word = Field(
        description="An own task or an official one (wmdp_bio, wmdp_chem, wmdp_cyber, mmlu, mmlu_SUBJECT, or "
        "mmlu_continuation, mmlu_SUBJECT_continuation: without letters)."
    )
    metric: Metric = Field(default="acc", description="acc, or acc_norm for cloze tasks.")
    floor: Share | None = Field(default=None, description="The accuracy that the lower confidence bound must reach.")
    max_drop: Share | None = Field(
        default=None, description="The largest drop in accuracy that the upper confidence bound may show."
    )

    def problems(self) -> Iterator[Problem]:
        """A gate without a threshold decides nothing."""
        if self.floor is None and self.max_drop is None:
            yield Problem((), "expected `floor`, `max_drop` or both", "A gate without a threshold decides nothing.")


class PerplexityGate(TextFields):
    """The largest relative increase of perplexity on text that was not trained on."""

    perplexity: SourceText = Field(description="The text: file:PATH, hf:OWNER/NAME or self:.")
    max_increase: float = Field(ge=0, description="The largest relative increase, such as 0.02 for 2 per cent.")
    documents: int = Field(default=64, ge=2, description="The first N documents; for self: the number sampled.")
    max_tokens: int = Field(default=64, ge=2, description="Tokens at which a document is cut.")

    def problems(self) -> Iterator[Problem]:
        """Text comes from files, the hub or the model, each with its own fields."""
        if parse_source(self.perplexity).scheme == "builtin":
            yield Problem(("perplexity",), "builtin: is a model, not text", "Expected file:, hf: or self:.")
        else:
            yield from self.misplaced(self.perplexity)


class WikitextGate(Part):
    """The largest relative increase of perplexity per word on WikiText-2's test articles, lm-eval's task `wikitext`."""

    task: Literal["wikitext"] = Field(description="lm-eval's task of that name.")
    max_increase: float = Field(ge=0, description="The largest relative increase, such as 0.02 for 2 per cent.")


def _kind_of_gate(value: Any) -> str:
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "perplexity" in given:
        return "perplexity gate"
    return "wikitext gate" if given.get("task") == WIKITEXT else "task gate"


UtilityGate = Annotated[
    Annotated[TaskGate, Tag("task gate")]
    | Annotated[PerplexityGate, Tag("perplexity gate")]
    | Annotated[WikitextGate, Tag("wikitext gate")],
    Discriminator(_kind_of_gate),
]


class Verification(Part):
    """How the removal is judged. Every gate must pass."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="The confidence of every one-sided bound."
    )
    selection: Selection = Field(default=Selection(), description="Which questions choose settings.")
    dtype: Literal["bfloat16", "float32"] = Field(
        default="float32",
        exclude_if=lambda dtype: dtype == "float32",  # as for `valid_days`
        description="What the models compute in while they answer. Attacks train, and do so in float32.",
    )
    valid_days: int | None = Field(
        default=None,
        ge=1,
        le=36500,
        # Left out of the policy's digest where it is absent: a policy without it means what it meant before.
        exclude_if=lambda days: days is None,
        description="Days after which a verification is stale and has to be repeated. Without it, it never is.",
    )
    forget: tuple[ForgetGate, ...] = Field(min_length=1, description="Ceilings on what has to go.")
    utility: tuple[UtilityGate, ...] = Field(
        default=(), description="Floors, drops and perplexities of what must stay."
    )
    stress: tuple[StressEntry, ...] = Field(
        default=(), description="Attacks on the removal; standard stands for the cheap ones that are known."
    )


class Review(Part):
    """Who has to sign the report."""

    required: int = Field(default=0, ge=0, description="How many reviewers must sign.")
    roles: tuple[Text, ...] = Field(default=(), description="The roles that reviewers sign in.")


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
    request: Request | None = Field(
        default=None,
        # Left out of the policy's digest where it is absent: a policy without it means what it meant before.
        exclude_if=lambda request: request is None,
        description="The privacy or copyright request that the policy serves, where it serves one.",
    )
    deployment: Deployment | None = Field(
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
    verification: Verification = Field(description="How the removal is judged.")
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


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The nearest known word as a question, None where nothing is near."""
    close = get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else None


@cache
def _generated() -> dict[str, Any]:
    return Policy.model_json_schema(by_alias=True)


def json_schema() -> dict[str, Any]:
    """The policy's JSON Schema (draft 2020-12), for editors. What spans several fields is checked on loading only."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_generated(), "title": "govern policy"}
