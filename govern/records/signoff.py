"""A reviewer's decision over a report."""

from __future__ import annotations

from typing import Literal

from govern.records.act import Act, Reviewer, Words
from govern.records.base import Sha256
from govern.records.event import Told
from govern.records.person import Name

Decision = Literal["approve", "reject"]


class ReviewSigned(Told):
    """What `review.signed` tells."""

    decision: Decision
    report: Sha256
    role: Name


class SignOff(Act):
    """One reviewer's decision."""

    SIGNER = "reviewer"
    ABOUT = "report"
    TELLS = ReviewSigned

    report: Sha256
    """The SHA-256 of report.html."""
    decision: Decision
    comment: Words
    reviewer: Reviewer
