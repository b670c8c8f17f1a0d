"""The official question sets: their names, where they come from and how many questions they hold."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class OfficialTask:
    """One lm-eval task over one question set: `config` is its name inside the data set."""

    name: str
    dataset: Dataset
    config: str
    questions: int


OFFICIAL: dict[str, tuple[OfficialTask, ...]] = {
    **{name: (OfficialTask(name, WMDP_DATASET, name.replace("_", "-"), count),) for name, count in WMDP.items()},
    **{
        f"mmlu_{subject}": (OfficialTask(f"mmlu_{subject}", MMLU_DATASET, subject, count),)
        for subject, count in MMLU_SUBJECTS.items()
    },
}
"""Every official name and the lm-eval tasks behind it."""
OFFICIAL["mmlu"] = tuple(OFFICIAL[f"mmlu_{subject}"][0] for subject in MMLU_SUBJECTS)


def is_official(name: str) -> bool:
    """Whether `name` is an official question set rather than a policy's own task."""
    return name in OFFICIAL
