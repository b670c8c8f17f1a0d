"""The `govern` command: parse, call the workflow, print. Heavy imports stay inside commands."""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import Any

import typer

from govern.cli.console import print_error
from govern.cli.log import audit, models
from govern.cli.people import keys, review, revoke, trust, waive
from govern.cli.publication import evidence, report, site, status
from govern.cli.removal import apply, export, init, mirror, plan, policy, reproduce, runs
from govern.cli.sweeps import compare, sweep
from govern.cli.verification import benchmark, stress, verify
from govern.errors import ExitCode, GovernError

app = typer.Typer(
    name="govern",
    help="Remove hazardous knowledge from a language model, prove that it is gone, and answer for it years later.",
    epilog="Exit codes: 0 ok · 1 error · 2 usage or invalid policy · 3 a gate failed · 4 integrity failure · "
    "5 inconclusive · 6 interrupted, resumable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.command("plan")(plan.plan)
app.command("sweep")(sweep.sweep)
app.command("apply")(apply.apply)
app.command("verify")(verify.verify)
app.command("stress")(stress.stress)
app.command("benchmark")(benchmark.benchmark)
app.command("export")(export.export)
app.command("review")(review.review)
app.command("waive")(waive.waive)
app.command("revoke")(revoke.revoke)
app.command("reproduce")(reproduce.reproduce)
app.command("status")(status.status)
app.command("compare")(compare.compare)
app.command("site")(site.site)
app.add_typer(report.app, name="report")
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(mirror.app, name="mirror")
app.add_typer(trust.app, name="trust")
app.add_typer(evidence.app, name="evidence")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")

# What an operating system refuses, whatever we do: no defect of ours.
_REFUSALS = (errno.EACCES, errno.EDQUOT, errno.ENAMETOOLONG, errno.ENOSPC, errno.EPERM, errno.EROFS)


def main() -> Any:
    """Run the command line.

    A `GovernError` becomes a message and its exit code, and so does what the operating system refuses; anything else is
    a defect of ours.
    """
    # Threads that spin while they wait make a removal ten times slower on a machine that does anything else as well.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # What these say of their own parts on import, nobody who runs govern can act on.
    for library in ("torchao", "torch.utils._pytree"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        return app()
    except GovernError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None or error.errno not in _REFUSALS:
            raise
        print_error(
            GovernError(f"{error.strerror}", where=str(error.filename), hint="Name another place, or make room.")
        )
        sys.exit(ExitCode.ERROR)
    except SystemExit as leaving:
        if leaving.code == 130:  # what typer makes of Ctrl-C
            sys.exit(ExitCode.INTERRUPTED)
        raise
