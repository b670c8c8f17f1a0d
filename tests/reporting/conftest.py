"""Views of runs that passed, failed and stayed undecided."""

from __future__ import annotations

import pytest
from reporting_records import FAILING, PASSING, UNDECIDED, full_arguments, make_arguments, make_verdict, swept_arguments

from govern.reporting.view import ReportView, build_view


@pytest.fixture
def view() -> ReportView:
    return build_view(**make_arguments())


@pytest.fixture(params=["pass", "fail", "inconclusive", "swept", "full"])
def any_view(request: pytest.FixtureRequest) -> ReportView:
    if request.param == "swept":
        return build_view(**swept_arguments())
    if request.param == "full":
        return build_view(**full_arguments())
    gates = {"pass": PASSING, "fail": FAILING, "inconclusive": UNDECIDED}[request.param]
    return build_view(**make_arguments(verdict=make_verdict(gates)))
