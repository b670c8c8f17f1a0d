"""`govern compare`: two runs of a workspace side by side."""

from __future__ import annotations

from pathlib import Path

from govern.audit import Log
from govern.evidence.history import History
from govern.reporting.comparison import Comparison
from govern.reporting.comparison import compare as compare_documents
from govern.workflow.publication.exports import document_of
from govern.workflow.runs import applied_run
from govern.workspace import Workspace


def compare(first: str | None, second: str | None, *, workspace: Path) -> Comparison:
    """Two runs as their newest reports know them; None is the latest applied one.

    Raises IntegrityError where the log or an artefact of either is not what it was, UsageError where one has no report.
    """
    place = Workspace.open(workspace)
    with Log.read(place.database) as log:
        log.verify()
        runs = [applied_run(place, log, run_id) for run_id in (first, second)]
        history = History(log.events())
        one, other = (document_of(history, run) for run in runs)
    return compare_documents(one, other)
