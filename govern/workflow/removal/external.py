"""A removal that was made elsewhere: finding the edited model, and holding it against the plan."""

from __future__ import annotations

from pathlib import Path

from govern.errors import IntegrityError, PolicyError, UsageError
from govern.models import identify
from govern.models.edited import refuse_unlike
from govern.policy import LoadedPolicy
from govern.progress import Progress, silent
from govern.records import ModelIdentity, Plan
from govern.sources import ResolvedModel, resolve_model
from govern.unlearning.external import ExternalSettings


def resolve_edited(loaded: LoadedPolicy, *, progress: Progress = silent) -> ResolvedModel | None:
    """The model that the policy says was edited elsewhere; None where its removal is made here."""
    removal = loaded.policy.removal
    if not isinstance(removal, ExternalSettings):
        return None
    named = removal.model
    return resolve_model(named.source, revision=named.revision, base=loaded.path.parent, progress=progress)


def identify_edited(loaded: LoadedPolicy, base: ResolvedModel, edited: ResolvedModel) -> ModelIdentity:
    """Who the edited model is. Raises PolicyError, with its place in the file, where it is no edit of the base."""
    identity = identify(edited)
    try:
        refuse_unlike(base.path, edited.path)
    except UsageError as error:
        where = loaded.where("removal", "model", "source")
        raise PolicyError(error.message, where=where, hint=error.hint) from None
    return identity


def planned_edit(loaded: LoadedPolicy, plan: Plan, *, folder: Path | None = None) -> Path | None:
    """The folder of the edited model that a plan is about, `folder` or else where the policy says; None without one.

    Raises IntegrityError where another model lies there now.
    """
    if plan.edited is None:
        return None
    if folder is not None:
        found: ResolvedModel | None = resolve_model(f"file:{folder.absolute()}", revision=None, base=folder)
    else:
        found = resolve_edited(loaded)
    if found is None:
        raise IntegrityError("the plan is about a model edited elsewhere, the policy is not", where=plan.policy_name)
    digest = identify(found, like=plan.edited).digest
    if digest != plan.edited.digest:
        raise IntegrityError(
            f"this is not the edited model of the plan: that one is sha256:{plan.edited.digest}, this is "
            f"sha256:{digest}",
            where=str(found.path),
            hint="Restore it, or apply the policy again to what it is now.",
        )
    return found.path
