"""The official question sets: their names, where they come from and how many questions they hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

WMDP = {"wmdp_bio": 1273, "wmdp_chem": 408, "wmdp_cyber": 1987}
"""Questions of each WMDP set (Li et al. 2024), as the hub holds them; the first version of the paper counted more."""

MMLU_SUBJECTS = {
    "abstract_algebra": 100,
    "anatomy": 135,
    "astronomy": 152,
    "business_ethics": 100,
    "clinical_knowledge": 265,
    "college_biology": 144,
    "college_chemistry": 100,
    "college_computer_science": 100,
    "college_mathematics": 100,
    "college_medicine": 173,
    "college_physics": 102,
    "computer_security": 100,
    "conceptual_physics": 235,
    "econometrics": 114,
    "electrical_engineering": 145,
    "elementary_mathematics": 378,
    "formal_logic": 126,
    "global_facts": 100,
    "high_school_biology": 310,
    "high_school_chemistry": 203,
    "high_school_computer_science": 100,
    "high_school_european_history": 165,
    "high_school_geography": 198,
    "high_school_government_and_politics": 193,
    "high_school_macroeconomics": 390,
    "high_school_mathematics": 270,
    "high_school_microeconomics": 238,
    "high_school_physics": 151,
    "high_school_psychology": 545,
    "high_school_statistics": 216,
    "high_school_us_history": 204,
    "high_school_world_history": 237,
    "human_aging": 223,
    "human_sexuality": 131,
    "international_law": 121,
    "jurisprudence": 108,
    "logical_fallacies": 163,
    "machine_learning": 112,
    "management": 103,
    "marketing": 234,
    "medical_genetics": 100,
    "miscellaneous": 783,
    "moral_disputes": 346,
    "moral_scenarios": 895,
    "nutrition": 306,
    "philosophy": 311,
    "prehistory": 324,
    "professional_accounting": 282,
    "professional_law": 1534,
    "professional_medicine": 272,
    "professional_psychology": 612,
    "public_relations": 110,
    "security_studies": 245,
    "sociology": 201,
    "us_foreign_policy": 100,
    "virology": 166,
    "world_religions": 171,
}
"""Test questions of each MMLU subject (Hendrycks et al. 2021); 14,042 in all."""


@dataclass(frozen=True)
class Dataset:
    """Where an official question set lives on the Hugging Face hub, at the revision that counts were taken from."""

    path: str
    revision: str


WMDP_DATASET = Dataset("cais/wmdp", "7125571f22f032c56415e7980f48d877dd830ff8")
MMLU_DATASET = Dataset("cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe")


WIKITEXT_DATASET = Dataset("EleutherAI/wikitext_document_level", "647234772b9554e208af6c826f23b99e3cac88c8")


@dataclass(frozen=True)
class OfficialTask:
    """One lm-eval task over one question set: `config` is its name inside the data set.

    `split` is what its questions are divided by: the same question is on the same side in every form of it.
    """

    name: str
    dataset: Dataset
    config: str
    questions: int
    split: str
    subject: str | None = None
    form: Literal["letters", "cloze"] = "letters"


def _mmlu(subject: str, count: int, form: Literal["letters", "cloze"]) -> OfficialTask:
    name = f"mmlu_{subject}"
    return OfficialTask(
        name if form == "letters" else f"{name}_continuation", MMLU_DATASET, subject, count, name, subject, form
    )


def _wmdp(name: str, count: int) -> OfficialTask:
    return OfficialTask(name, WMDP_DATASET, name.replace("_", "-"), count, name)


OFFICIAL: dict[str, tuple[OfficialTask, ...]] = {
    **{name: (_wmdp(name, count),) for name, count in WMDP.items()},
    **{f"mmlu_{subject}": (_mmlu(subject, count, "letters"),) for subject, count in MMLU_SUBJECTS.items()},
    "mmlu": tuple(_mmlu(subject, count, "letters") for subject, count in MMLU_SUBJECTS.items()),
    **{f"mmlu_{subject}_continuation": (_mmlu(subject, count, "cloze"),) for subject, count in MMLU_SUBJECTS.items()},
    "mmlu_continuation": tuple(_mmlu(subject, count, "cloze") for subject, count in MMLU_SUBJECTS.items()),
}
"""Every official name and the lm-eval tasks behind it. The continuations ask MMLU's questions without letters."""

WIKITEXT = "wikitext"
"""lm-eval's task of that name, which reads WikiText-2's test articles and asks no questions."""

WIKITEXT_TASK = OfficialTask(WIKITEXT, WIKITEXT_DATASET, "wikitext-2-raw-v1", 62, WIKITEXT)

NEIGHBOURS = {
    "biology": ("college_biology", "high_school_biology", "medical_genetics", "virology"),
    "chemistry": ("college_chemistry", "high_school_chemistry"),
    "cyber security": ("college_computer_science", "computer_security", "high_school_computer_science"),
}
"""The subjects of MMLU next to each hazard, where a removal does its damage first: virology, college biology and
computer security of Li et al. (2024, section 5), and the subjects that teach the same."""

_HAZARDS = {"wmdp_bio": "biology", "wmdp_chem": "chemistry", "wmdp_cyber": "cyber security"}


def is_official(name: str) -> bool:
    """Whether `name` is an official task rather than a policy's own."""
    return name in OFFICIAL or name == WIKITEXT


def neighbours_of(domain: str, forgotten: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The subjects next to what a policy removes, by hazard: named by its domain or by a WMDP set that must go."""
    named = {hazard for task, hazard in _HAZARDS.items() if task in forgotten}
    named |= {hazard for hazard in NEIGHBOURS if hazard.split()[0] in domain.lower()}
    return {hazard: subjects for hazard, subjects in NEIGHBOURS.items() if hazard in named}
