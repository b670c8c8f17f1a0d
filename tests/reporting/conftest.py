"""Views of runs that passed, failed and stayed undecided."""

from __future__ import annotations

import pytest
from reporting_records import (
    FAILING,
    PASSING,
    UNDECIDED,
    full_arguments,
    make_arguments,
    make_verdict,
    swept_arguments,
    view_of,
)

from govern.reporting.view import ReportView


@pytest.fixture
def view() -> ReportView:
    return view_of(**make_arguments())


@pytest.fixture(params=["pass", "fail", "inconclusive", "swept", "full"])
def any_view(request: pytest.FixtureRequest) -> ReportView:
    if request.param == "swept":
        return view_of(**swept_arguments())
    if request.param == "full":
        return view_of(**full_arguments())
    gates = {"pass": PASSING, "fail": FAILING, "inconclusive": UNDECIDED}[request.param]
    return view_of(**make_arguments(verdict=make_verdict(gates)))
