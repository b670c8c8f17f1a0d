"""The report: a view of the records (`view`), its pictures (`charts`) and its two renderings (`render`)."""

from govern.reporting.render import Rendered, render_html, render_markdown
from govern.reporting.view import FailedRun, ReportView, Signer, build_view

__all__ = ["FailedRun", "Rendered", "ReportView", "Signer", "build_view", "render_html", "render_markdown"]
