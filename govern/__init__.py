"""Remove hazardous knowledge from a language model, prove that it is gone, and answer for it years later.

The Python face of the `govern` command, for notebooks and pipelines; the workflow behind both is the same:

    import govern

    planned = govern.plan(govern.load_policy("policies/quickstart.yaml"))
    applied = govern.apply("policies/quickstart.yaml", workspace="audits")
    verified = govern.verify(applied.run.id, workspace="audits")
    print(verified.verdict.verdict, verified.issued.path)

Importing this loads no torch; the first call that needs it does. Every function raises `govern.errors.GovernError`
for what a user can mend.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from govern.progress import Progress, silent
from govern.version import __version__

if TYPE_CHECKING:
    from govern.policy import LoadedPolicy
    from govern.signing import SigningKey
    from govern.workflow.publication.report import Issued
    from govern.workflow.removal.apply import Applied
    from govern.workflow.removal.plan import Planned
    from govern.workflow.sweeps.sweep import Swept
    from govern.workflow.verification.verify import Verified

__all__ = ["__version__", "apply", "load_policy", "plan", "render", "sweep", "verify"]


def load_policy(path: str | PathLike[str]) -> LoadedPolicy:
    """Read and check a policy. Raises PolicyErrors, each finding with its file:line:column."""
    from govern.policy import load_policy

    return load_policy(Path(path))


def plan(
    policy: LoadedPolicy,
    *,
    mirror: str | PathLike[str] | None = None,
    device: str | None = None,
    salt: str | PathLike[str] | None = None,
    progress: Progress = silent,
) -> Planned:
    """Resolve everything that a policy names; change nothing. `device` is the first GPU or else the CPU by default.

    `salt` is the file with the salt of a request's fingerprints.
    """
    from govern.workflow.removal.plan import make_plan

    return make_plan(policy, device=device, mirror=_path(mirror), salt=_path(salt), progress=progress)


def apply(
    policy: str | PathLike[str] | None,
    *,
    workspace: str | PathLike[str],
    resume: bool = False,
    sweep: str | None = None,
    mirror: str | PathLike[str] | None = None,
    device: str | None = None,
    salt: str | PathLike[str] | None = None,
    progress: Progress = silent,
) -> Applied:
    """Apply a policy to its model, or with `resume` finish the latest unfinished run (of that policy, or of any).

    What the policy leaves to a sweep comes from the sweep of the id `sweep`, or else from its latest finished one.
    `salt` is the file with the salt of a request's fingerprints.
    """
    from govern.workflow.removal.apply import apply

    return apply(
        _path(policy),
        workspace=Path(workspace),
        resume=resume,
        sweep=sweep,
        mirror=_path(mirror),
        device=device,
        salt=_path(salt),
        progress=progress,
    )


def sweep(
    policy: str | PathLike[str] | None,
    *,
    workspace: str | PathLike[str],
    ablation: bool = False,
    resume: bool = False,
    mirror: str | PathLike[str] | None = None,
    salt: str | PathLike[str] | None = None,
    device: str | None = None,
    progress: Progress = silent,
) -> Swept:
    """Try every setting that a policy leaves open, on the questions that choose, or with `ablation` take SRMU apart."""
    from govern.workflow.sweeps.sweep import sweep

    return sweep(
        _path(policy),
        workspace=Path(workspace),
        ablation=ablation,
        resume=resume,
        device=device,
        mirror=_path(mirror),
        salt=_path(salt),
        progress=progress,
    )


def verify(
    run: str | None = None,
    *,
    workspace: str | PathLike[str],
    key: SigningKey | None = None,
    mirror: str | PathLike[str] | None = None,
    templates: str | PathLike[str] | None = None,
    device: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Verified:
    """Verify a run, the latest applied one by default, and issue its report, signed by `key` or a throw-away one.

    With a `seed`, held-back text is sampled from the model anew.
    """
    from govern.workflow.verification.verify import verify

    return verify(
        run,
        workspace=Path(workspace),
        key=key,
        mirror=_path(mirror),
        templates=_path(templates),
        device=device,
        seed=seed,
        progress=progress,
    )


def render(
    run: str | None = None,
    *,
    workspace: str | PathLike[str],
    key: SigningKey | None = None,
    templates: str | PathLike[str] | None = None,
) -> Issued:
    """Issue the report of a run's newest verification again, with another key or other templates, measuring nothing."""
    from govern.workflow.publication.report import reissue

    return reissue(run, workspace=Path(workspace), key=key, templates=_path(templates))


def _path(given: str | PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)
