"""The report's page on paper: its HTML, printed by the user's own Chromium.

Chromium runs with its sandbox on, without a network, in a profile that is thrown away; the page's own content policy
forbids scripts. What is printed is tagged and has an outline, so that a screen reader finds its way. The two dates
in the file are set to the report's time of issue, so that one browser with the same fonts prints the same bytes again;
another version or machine does not. A PDF is for reading: what is signed is the HTML.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from govern.errors import GovernError, UsageError
from govern.reporting.document import RunDocument
from govern.reporting.exports.protocol import Export

CHROMIUM: Final = "GOVERN_CHROMIUM"
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_SECONDS = 120.0
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def find_chromium() -> Path:
    """The program named by GOVERN_CHROMIUM, or else the first on PATH. Raises UsageError where there is none."""
    named = os.environ.get(CHROMIUM)
    for name in [named] if named else PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    raise UsageError(
        f"there is no program {named!r}" if named else "a PDF is printed by Chromium, and there is none on PATH",
        where=CHROMIUM,
        hint="Install Chromium or Chrome (Debian: apt install chromium), or name its program in GOVERN_CHROMIUM.",
    )


def pdf(html: bytes, program: Path, *, issued: str, seconds: float = _SECONDS) -> bytes:
    """A report's page as PDF. `issued` (UTC, RFC 3339) becomes its date.

    Raises GovernError where the browser does not start, does not finish in `seconds`, or prints nothing.
    """
    with tempfile.TemporaryDirectory(prefix="govern-pdf-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        page, paper = folder / "report.html", folder / "report.pdf"
        page.write_bytes(html)
        command = [str(program), *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={paper}"]
        said = _run([*command, page.as_uri()], program, seconds)
        data = paper.read_bytes() if paper.is_file() else b""
        if not data.startswith(b"%PDF-"):
            raise GovernError(f"the browser printed nothing: {_reason(said)}", where=str(program), hint=_hint(said))
        date = re.sub(r"\D", "", issued)[:14].encode()
        return re.sub(rb"(/(?:Creation|Mod)Date \(D:)\d{14}", rb"\g<1>" + date, data)


def printed(document: RunDocument, page: bytes) -> bytes:
    """The report's page, as it was signed, printed by the user's browser."""
    return pdf(page, find_chromium(), issued=document.report.issued)


def _run(command: list[str], program: Path, seconds: float) -> str:
    """Run the browser in a process group of its own, so that its children end with it; what it said on stderr.

    Where govern itself is killed, a browser that hangs outlives it.
    """
    try:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    except OSError as error:
        raise GovernError(f"the browser does not start: {error.strerror}", where=str(program)) from None
    try:
        return process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        raise GovernError(
            f"the browser did not finish in {seconds:.0f} seconds",
            where=str(program),
            hint="Try again, or name another browser in GOVERN_CHROMIUM.",
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line or "FATAL" in line or "sandbox" in line]
    return lines[-1] if lines else "it said nothing"


def _hint(said: str) -> str:
    if "sandbox" in said:
        return (
            "Its sandbox cannot start here. It never does for root: run govern as another user. In a container without "
            "user namespaces, print the report on another machine; govern does not turn the sandbox off."
        )
    return "Open the report in a browser and print it there: govern report open."


EXPORT = Export(("document", "page"), printed)
