"""`govern plan`: resolve everything that a policy names, change nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from govern.corpora import overlap, read_tokens, sample_from_model, tokenize
from govern.corpora.tokens import TokenCorpus
from govern.errors import PolicyError, RemovalError
from govern.evaluation.questions import OwnTask, identify_task
from govern.models import identify, load_tokenizer
from govern.models.shape import Limits, limits_of
from govern.policy import DEFAULT_TOPIC, LoadedPolicy, PerplexityGate, TaskGate, TextSource, WikitextGate
from govern.progress import Progress, silent
from govern.records import CorpusIdentity, Deployment, ModelIdentity, Overlap, Person, Plan
from govern.sources import ResolvedModel, resolve_model, resolve_texts
from govern.stress.attack import Conditions
from govern.stress.weights import without_weights
from govern.unlearning.external import ExternalSettings
from govern.unlearning.protocol import Topic
from govern.unlearning.registry import method_named
from govern.unlearning.settings import MethodSettings
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import PLAN
from govern.workflow.removal.attackable import refuse_impossible_attacks
from govern.workflow.removal.chosen import Chosen
from govern.workflow.removal.edit import refuse_unstored
from govern.workflow.removal.external import identify_edited, resolve_edited
from govern.workflow.removal.long_questions import long_questions
from govern.workflow.removal.request import (
    identify_request,
    refuse_named_subjects,
    refuse_other_subjects,
    subjects_of,
    task_without_file_name,
    without_file_names,
)
from govern.workflow.runs import stored_plan
from govern.workspace import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# Documents that begin with the same tokens are compared whole; eight tell texts apart well enough for that.
_BEGINNING = 8

# Of a corpus, this share may be longer than a model's context: positions that are computed and not learned go on.
LARGEST_SHARE_BEYOND = 0.01

Role = Literal["forget", "retain", "perplexity"]


@dataclass(frozen=True)
class Corpus:
    """One text source, resolved: who it is, its tokens, and its texts, as they are cut to those."""

    identity: CorpusIdentity
    tokens: TokenCorpus
    texts: tuple[str, ...]
    sampled: bool


@dataclass(frozen=True)
class Planned:
    """A plan with the material that it names, ready to be applied by `settings`."""

    plan: Plan
    model: ResolvedModel
    topics: tuple[Topic, ...]
    corpora: dict[str, Corpus]
    settings: MethodSettings | ExternalSettings

    @property
    def held_back(self) -> dict[str, TokenCorpus]:
        """The perplexity corpora, by the name that their gate's result carries."""
        found = [corpus for corpus in self.corpora.values() if corpus.identity.role == "perplexity"]
        return {
            f"held-back {corpus.identity.source}" + (f" #{number}" if len(found) > 1 else ""): corpus.tokens
            for number, corpus in enumerate(found, start=1)
        }

    def text(self, role: Literal["forget", "retain"]) -> TokenCorpus:
        """All forget or all retain text in one piece, whatever its topic."""
        return _together([corpus for corpus in self.corpora.values() if corpus.identity.role == role])


def make_plan(
    loaded: LoadedPolicy,
    *,
    device: str | None = None,
    mirror: Path | None = None,
    stored: RunFolder | None = None,
    chosen: Chosen | None = None,
    workers: int = 1,
    salt: Path | None = None,
    held_back_seed: int | None = None,
    progress: Progress = silent,
) -> Planned:
    """Resolve a policy, for so many workers. With `stored`, text that was sampled from the model comes from that run
    instead of anew; with `chosen`, the parameters are those that a sweep chose.

    `salt` is that of the fingerprints of the policy's request; a stored run was planned with it once. With
    `held_back_seed`, held-back text is sampled from the model with that seed, whatever the policy and the run say.
    Raises PolicyError for what only the model can tell (a layer out of range), SourceError for what is missing.
    """
    policy, base = loaded.policy, loaded.path.parent
    subjects = subjects_of(loaded, salt) if stored is None else None
    if subjects:
        refuse_named_subjects(loaded, subjects)
    device = device or default_device()
    resolved = resolve_model(policy.model.source, revision=policy.model.revision, base=base, progress=progress)
    earlier = stored_plan(stored).model if stored is not None and stored.path(PLAN).is_file() else None
    model = identify(resolved, trust_remote_code=policy.model.trust_remote_code, like=earlier)
    settings = chosen.settings if chosen else policy.removal
    method = method_named(settings.method)
    check_removal(loaded, settings, resolved, model)
    edited = edited_identity(loaded, resolved, stored, progress)

    tokenizer = load_tokenizer(resolved.path, trust_remote_code=policy.model.trust_remote_code)
    corpora = {}
    for name, role, spec in text_sources(loaded):
        anew = role == "perplexity" and held_back_seed is not None
        corpora[name] = resolve_corpus(
            name,
            spec.model_copy(update={"seed": held_back_seed}) if anew else spec,
            role,
            loaded=loaded,
            model=resolved,
            tokenizer=tokenizer,
            device=device,
            stored=None if anew else stored,
            progress=progress,
        )
    refuse_training_text_in_evaluation(loaded, corpora)
    limits = limits_of(resolved.path, trust_remote_code=model.remote_code)
    beyond = documents_beyond(loaded, corpora, limits, refuse=earlier is None)
    retained = sum(corpus.identity.documents for corpus in corpora.values() if corpus.identity.role == "retain")
    shape = cache(partial(without_weights, resolved.path, trust_remote_code=policy.model.trust_remote_code))
    refuse_impossible_attacks(loaded, question_sets(loaded), Conditions(tokenizer, retained, shape))
    if subjects:
        forget, retain = (texts_as_cut(corpora, role) for role in ("forget", "retain"))
        refuse_other_subjects(loaded, subjects, forget=forget, retain=retain)
    topics, overlaps = join_topics(corpora)
    tasks = tuple(
        identify_task(task, share=policy.verification.selection.share, mirror=mirror)
        for task in [*question_sets(loaded), *official_texts(loaded)]
    )
    if policy.request:
        tasks = tuple(map(task_without_file_name, tasks))
    plan = Plan(
        policy_name=policy.name,
        policy_digest=loaded.digest,
        policy_sha256=loaded.sha256,
        title=policy.title,
        rationale=policy.rationale,
        owner=Person(name=policy.owner.name, role=policy.owner.role),
        hazard_domain=policy.hazard.domain,
        hazard_category=policy.hazard.category,
        reviews_required=policy.review.required,
        review_roles=policy.review.roles,
        model=model,
        corpora=tuple(corpus.identity for corpus in corpora.values()),
        overlap=overlaps,
        tasks=tasks,
        method=policy.removal.method,
        parameters=settings.model_dump(mode="json"),
        sweep=chosen.choice if chosen else None,
        seed=policy.removal.seed,
        warnings=(
            *warnings_about(loaded, model, corpora.values(), overlaps, chosen, edited),
            *beyond,
            *long_questions(loaded, question_sets(loaded), resolved.path, tokenizer),
        ),
        environment=describe_environment(device, workers=workers),
        valid_days=policy.verification.valid_days,
        request=identify_request(loaded),
        edited=edited,
        deployment=Deployment(**policy.deployment.model_dump()) if policy.deployment else None,
        origin=method.origin,
        cost=method.cost_of(settings, resolved.path, model.layers),
    )
    return Planned(plan, resolved, topics, corpora, settings)


def edited_identity(
    loaded: LoadedPolicy, base: ResolvedModel, stored: RunFolder | None, progress: Progress
) -> ModelIdentity | None:
    """The model that was edited elsewhere, None without one. A run that is planned knows it, wherever it is by now."""
    if stored is not None and stored.path(PLAN).is_file():
        return stored_plan(stored).edited
    found = resolve_edited(loaded, progress=progress)
    return identify_edited(loaded, base, found) if found else None


def check_removal(
    loaded: LoadedPolicy, settings: MethodSettings | ExternalSettings, resolved: ResolvedModel, model: ModelIdentity
) -> None:
    """Raise PolicyError, with its place in the file, where the settings do not fit the model."""
    for location, message in method_named(loaded.policy.removal.method).refusals(settings, resolved.path, model.layers):
        raise PolicyError(message, where=loaded.where("removal", *location), hint=f"The model is {model.source}.")
    if isinstance(settings, ExternalSettings):
        return
    try:
        refuse_unstored(settings, resolved.path, layers=model.layers, trust_remote_code=model.remote_code)
    except RemovalError as error:
        raise PolicyError(error.message, where=loaded.where("removal"), hint=error.hint) from None


def text_sources(loaded: LoadedPolicy) -> list[tuple[str, Role, TextSource | PerplexityGate]]:
    """Every text source of a policy as (name in the run folder, role, specification)."""
    policy = loaded.policy
    gates = [gate for gate in policy.verification.utility if isinstance(gate, PerplexityGate)]
    roles: list[tuple[Role, Sequence[TextSource | PerplexityGate]]] = [
        ("forget", policy.forget),
        ("retain", policy.retain),
        ("perplexity", gates),
    ]
    return [(f"{role}-{index}", role, spec) for role, specs in roles for index, spec in enumerate(specs)]


def question_sets(loaded: LoadedPolicy) -> list[OwnTask | str]:
    """The question sets that a policy's gates and tasks name: own ones, then official ones by name."""
    policy = loaded.policy
    own: list[OwnTask | str] = [
        OwnTask(name=task.name, file=loaded.path.parent / task.file, kind=task.kind, cluster=task.cluster, use=task.use)
        for task in policy.tasks
    ]
    known = {task.name for task in policy.tasks}
    gated = [gate.task for gate in policy.verification.forget]
    gated += [gate.task for gate in policy.verification.utility if isinstance(gate, TaskGate)]
    return own + [name for name in dict.fromkeys(gated) if name not in known]


def official_texts(loaded: LoadedPolicy) -> list[str]:
    """The official texts that a policy's gates name."""
    found = [gate.task for gate in loaded.policy.verification.utility if isinstance(gate, WikitextGate)]
    return list(dict.fromkeys(found))


def resolve_corpus(
    name: str,
    spec: TextSource | PerplexityGate,
    role: Role,
    *,
    loaded: LoadedPolicy,
    model: ResolvedModel,
    tokenizer: PreTrainedTokenizerBase,
    device: str,
    stored: RunFolder | None,
    progress: Progress,
) -> Corpus:
    """Read one source and cut it into tokens, or sample it from the model."""
    source = spec.perplexity if isinstance(spec, PerplexityGate) else spec.source
    documents = spec.documents if source == "self:" else None
    sampled = documents is not None
    revision = licence = None
    if documents is not None:
        tokens = (
            read_tokens(stored.read(f"inputs/{name}.safetensors"))
            if stored
            else sample_from_model(
                model.path,
                documents=documents,
                max_tokens=spec.max_tokens,
                seed=spec.seed,
                device=device,
                trust_remote_code=loaded.policy.model.trust_remote_code,
                progress=progress,
            )
        )
        licence = "the model's own output"
    else:
        found = resolve_texts(
            source,
            subset=spec.subset,
            split=spec.split,
            column=spec.column,
            revision=spec.revision,
            base=loaded.path.parent,
            documents=spec.documents,
        )
        tokens = tokenize(found.texts, tokenizer, max_tokens=spec.max_tokens)
        revision, licence = found.revision, found.licence
    identity = CorpusIdentity(
        topic=(spec.topic or "") if isinstance(spec, TextSource) else "",
        role=role,
        source=source,
        subset=spec.subset,
        split=spec.split,
        column=None if sampled else spec.column,
        revision=revision,
        digest=tokens.digest,
        documents=len(tokens.documents),
        tokens=tokens.tokens,
        max_tokens=spec.max_tokens,
        licence=licence,
    )
    if loaded.policy.request:
        identity = without_file_names(identity)
    # What is trained on is what is looked at: a tail that `max_tokens` cuts off is neither.
    texts = tuple(tokenizer.batch_decode([list(ids) for ids in tokens.documents], skip_special_tokens=True))
    return Corpus(identity, tokens, texts, sampled)


def texts_as_cut(corpora: dict[str, Corpus], role: Role) -> list[str]:
    """The documents of one role as they are trained on, cut to their tokens; without what the model wrote itself."""
    chosen = [each for each in corpora.values() if each.identity.role == role and not each.sampled]
    return [text for corpus in chosen for text in corpus.texts]


def join_topics(corpora: dict[str, Corpus]) -> tuple[tuple[Topic, ...], tuple[Overlap, ...]]:
    """Each topic's forget and retain text in one piece, and their overlap. Retain text without a topic serves all."""
    forget = [corpus for corpus in corpora.values() if corpus.identity.role == "forget"]
    retain = [corpus for corpus in corpora.values() if corpus.identity.role == "retain"]
    topics, overlaps = [], []
    for topic in dict.fromkeys(corpus.identity.topic or DEFAULT_TOPIC for corpus in forget):
        gone = [corpus for corpus in forget if (corpus.identity.topic or DEFAULT_TOPIC) == topic]
        kept = [corpus for corpus in retain if corpus.identity.topic in ("", topic)]
        topics.append(Topic(topic, _together(gone), _together(kept)))
        overlaps.append(
            overlap(
                topic,
                (text for corpus in gone for text in corpus.texts),
                (text for corpus in kept for text in corpus.texts),
            )
        )
    return tuple(topics), tuple(overlaps)


def _together(corpora: Sequence[Corpus]) -> TokenCorpus:
    return TokenCorpus(tuple(document for corpus in corpora for document in corpus.tokens.documents))


def refuse_training_text_in_evaluation(loaded: LoadedPolicy, corpora: dict[str, Corpus]) -> None:
    """Raise PolicyError where a perplexity gate would be measured on text that the removal is trained on."""
    trained: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
    for corpus in corpora.values():
        if corpus.identity.role != "perplexity":
            for document in corpus.tokens.documents:
                trained[document[:_BEGINNING]].append(document)
    gates = [i for i, gate in enumerate(loaded.policy.verification.utility) if isinstance(gate, PerplexityGate)]
    held_back = [corpus for corpus in corpora.values() if corpus.identity.role == "perplexity"]
    for index, corpus in zip(gates, held_back, strict=True):
        # The same text may be cut at another length, so the longer of two documents is held against the shorter.
        shared = sum(
            any(document[: len(other)] == other[: len(document)] for other in trained.get(document[:_BEGINNING], ()))
            for document in corpus.tokens.documents
        )
        if shared:
            raise PolicyError(
                f"{shared} of its {len(corpus.tokens.documents)} documents are training text as well, "
                "so a perplexity measured on them would prove nothing",
                where=loaded.where("verification", "utility", index, "perplexity"),
                hint="Name another split or source, or another seed for self: text.",
            )


def documents_beyond(
    loaded: LoadedPolicy, corpora: dict[str, Corpus], limits: Limits, *, refuse: bool
) -> tuple[str, ...]:
    """How many documents of each corpus are longer than the model's context, in words; empty where none is.

    Raises PolicyError for a token that the model has no embedding of. Where `refuse`, also for a document beyond a
    model's learned positions, and for more than LARGEST_SHARE_BEYOND of a corpus beyond what a model was made for.
    """
    counts = dict.fromkeys(("forget", "retain", "perplexity"), 0)
    found = []
    for corpus in corpora.values():
        role, place = corpus.identity.role, counts[corpus.identity.role]
        counts[role] += 1
        where = loaded.where("verification", "utility") if role == "perplexity" else loaded.where(role, place)
        documents = corpus.tokens.documents
        for number, ids in enumerate(documents, start=1):
            if max(ids) >= limits.vocabulary:
                raise PolicyError(
                    f"document {number} of {corpus.identity.source} holds the token {max(ids)}, and the model has "
                    f"embeddings of {limits.vocabulary:,}",
                    where=where,
                    hint="Take the special token out of the text, or name a model whose tokenizer is its own.",
                )
        if limits.positions is None:
            continue
        longer = sum(len(ids) > limits.positions for ids in documents)
        if not longer:
            continue
        said = (
            f"{longer} of {len(documents)} documents of {corpus.identity.source} are longer than the model's context "
            f"of {limits.positions:,} tokens"
        )
        if refuse and (limits.learned or longer > LARGEST_SHARE_BEYOND * len(documents)):
            raise PolicyError(said, where=where, hint=f"Set `max_tokens` to {limits.positions} or less.")
        found.append(f"{said}, which it was not made for")
    return tuple(found)


def warnings_about(
    loaded: LoadedPolicy,
    model: ModelIdentity,
    corpora: Iterable[Corpus],
    overlaps: Sequence[Overlap],
    chosen: Chosen | None,
    edited: ModelIdentity | None,
) -> tuple[str, ...]:
    """What a reader of the plan should know before anything is applied."""
    found = [
        f"topic {entry.topic}: {entry.unigram:.0%} of the distinct forget words occur in its retain text "
        f"({entry.bigram:.0%} of the word pairs): high entanglement, so expect less forgetting or more damage"
        for entry in overlaps
        if entry.warn
    ]
    if loaded.policy.sweeps and chosen is None:
        found.append("the policy leaves its settings to a sweep: `govern sweep` chooses them, and `apply` waits for it")
    if model.remote_code:
        found.append("the policy allows the model's own code to run (trust_remote_code)")
    identities: list[ModelIdentity | CorpusIdentity] = [model, *(corpus.identity for corpus in corpora)]
    if edited is not None:
        identities.append(edited)
        found.append("the removal was made elsewhere: how, on what text and with which settings is not known here")
    unpinned = dict.fromkeys(
        named.source for named in identities if named.source.startswith("hf:") and named.revision is None
    )
    found += [f"{source} is not pinned to a revision, so it may be something else tomorrow" for source in unpinned]
    return tuple(found)
