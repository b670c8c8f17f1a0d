"""What only people can say: who answers for a policy, what it is about, why it was asked for, how its model is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from govern.policy.part import REQUEST, Part, Problem, Text


class Owner(Part):
    """Who answers for the policy."""

    name: Text = Field(description="The person or team.")
    role: Text = Field(description="Their role.")


class Hazard(Part):
    """What kind of knowledge has to go."""

    domain: Text = Field(description="The field of knowledge, such as biology.")
    category: Text = Field(description="The kind of harm, such as CBRN, cyber, privacy or copyright.")


class DeploymentPlan(Part):
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


class SubjectRequest(Part):
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


class Review(Part):
    """Who has to sign the report."""

    required: int = Field(default=0, ge=0, description="How many reviewers must sign.")
    roles: tuple[Text, ...] = Field(default=(), description="The roles that reviewers sign in.")
