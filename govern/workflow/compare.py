"""`govern compare`: two runs of a workspace side by side."""

from __future__ import annotations

from pathlib import Path

from govern.audit import Log
from govern.reporting.comparison import Comparison
from govern.reporting.comparison import compare as compare_documents
from govern.workflow.documents import read_reported
from govern.workflow.runs import applied_run
from govern.workspace import Workspace


def compare(first: str | None, second: str | None, *, workspace: Path) -> Comparison:
    """Two runs as their newest reports know them; None is the latest applied one.

    Raises IntegrityError where the log or an artefact of either is not what it was, UsageError where one has no report.
    """
    place = Workspace.open(workspace)
    with Log.open(place.database, create=False) as log:
        log.verify()
        runs = [applied_run(place, log, run_id) for run_id in (first, second)]
        one, other = (read_reported(log, run).document for run in runs)
    return compare_documents(one, other)
