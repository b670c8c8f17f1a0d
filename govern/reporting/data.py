"""What a removal starts from: the model, the texts, the question sets, and whose request it serves."""

from __future__ import annotations

from govern.records import Plan
from govern.reporting import forms
from govern.reporting.facts import Documents, Fact, Field, Listing, code, number

_NO_REVISION = forms.or_else(forms.plain, "none: bound by the digest alone")
MODEL_BEFORE = (
    code("source", "Source"),
    code("revision", "Revision", _NO_REVISION),
    code("digest", "Digest of the base model"),
    Field("architecture", "Architecture"),
    number("parameters", "Parameters"),
    number("layers", "Layers"),
    number("hidden_size", "Hidden size"),
    Field("licence", "Licence"),
    Field("remote_code", "Runs code from the model's repository"),
)
_MODEL_AFTER = (
    code("verdict/edited_model_digest", "Digest of the edited model"),
    code("removal/delta_sha256", "SHA-256 of the delta"),
    code("removal/base_model_digest", "Bound to the base model"),
    number("removal/tensors", "Tensors changed"),
)
_EDITED_ELSEWHERE = (
    code("source", "Edited elsewhere, handed in as"),
    code("revision", "Its revision", _NO_REVISION),
    code("digest", "Digest of its own files"),
)
_REQUEST = (
    code("id", "Request", beside=Field("kind", "Kind")),
    number("subjects", "Subjects, known by salted fingerprints alone"),
    code("fingerprints", "SHA-256 of the fingerprints"),
)
_ROLES = {"forget": "Forget text", "retain": "Retain text", "perplexity": "Perplexity text"}
_TEXT = (code("source", "Source"), Field("role", "Role", _ROLES.__getitem__))
_TEXT_OPTIONAL = (
    code("topic", "Topic"),
    code("subset", "Subset"),
    code("split", "Split"),
    code("column", "Column"),
    code("revision", "Revision"),
)
_TEXT_SIZE = (
    number("documents", "Documents"),
    number("tokens", "Tokens"),
    number("max_tokens", "Longest document, tokens"),
    Field("licence", "Licence"),
    code("digest", "SHA-256"),
)
OVERLAP = Listing(
    "Share of distinct forget n-grams that occur in the retain text",
    "/plan/overlap",
    (
        Field("topic", "Topic"),
        number("unigram", "Unigrams", forms.percent),
        number("bigram", "Bigrams", forms.percent),
        Field("warn", "High"),
    ),
)
QUESTIONS = Listing(
    "Questions that choose settings never certify",
    "/plan/tasks",
    (
        Field("name", "Question set", beside=code("source", "Source")),
        Field("kind", "Form"),
        number("selection", "Choose settings"),
        number("certification", "Certify"),
        number("clusters", "Clusters", forms.or_else(forms.count, "none")),
        code("digest", "SHA-256"),
    ),
)


def model_after(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    """The edited model, and where the removal was not made here, what somebody else handed in."""
    elsewhere = documents.rows(_EDITED_ELSEWHERE, "/plan/edited") if plan.edited else ()
    return (*documents.rows(_MODEL_AFTER), *elsewhere)


def scope(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    """What must go, and the request that the policy serves; whose it is, nobody can read here."""
    return (
        *documents.rows((Field("plan/hazard_domain", "Domain"), Field("plan/hazard_category", "Category"))),
        *(documents.rows(_REQUEST, "/plan/request") if plan.request else ()),
        *forget_topics(documents, plan),
    )


def forget_topics(documents: Documents, plan: Plan) -> tuple[Fact, ...]:
    """The topics that the policy names, each once; one that it leaves unnamed tells a reader nothing."""
    first = {corpus.topic: index for index, corpus in reversed([*enumerate(plan.corpora)]) if corpus.role == "forget"}
    return tuple(
        documents.fact(f"/plan/corpora/{index}/topic", "Topic")
        for topic, index in sorted(first.items(), key=lambda item: item[1])
        if topic not in ("", "default")
    )


def corpora(documents: Documents) -> tuple[tuple[Fact, ...], ...]:
    """Each text: its source and its role, then what else is known of it."""
    return tuple(
        documents.rows(
            (*_TEXT, *(field for field in _TEXT_OPTIONAL if documents.read(f"{here}/{field.name}")), *_TEXT_SIZE), here
        )
        for here in documents.each("/plan/corpora")
    )
