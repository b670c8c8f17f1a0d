"""The sections of a report, in their order: a reader's way down, and what the crosswalk points to."""

from __future__ import annotations

from typing import Final

from govern.records.base import Record
from govern.reporting.facts import Line


class Section(Record):
    """A section's anchor and its heading."""

    id: str
    title: Line


SECTIONS: Final = tuple(
    Section(id=name, title=title)
    for name, title in (
        ("scope", "Scope and rationale"),
        ("persons", "Responsible persons"),
        ("model", "Model before and after"),
        ("policy", "Policy, deviations and waivers"),
        ("data", "Data"),
        ("method", "Method and parameters"),
        ("curves", "Training curves"),
        ("results", "Results"),
        ("robustness", "Robustness"),
        ("side-effects", "Side effects"),
        ("limits", "Limitations and what is not claimed"),
        ("risk", "Residual risk, monitoring and rollback"),
        ("failed-runs", "Failed and discarded runs"),
        ("environment", "Environment"),
        ("audit", "Audit position and proofs"),
        ("verify", "How to verify"),
        ("sign-off", "Sign-off"),
        ("crosswalk", "Crosswalk to laws and standards"),
    )
)
