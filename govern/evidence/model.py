"""Holding what a pack is about against it: the run's delta, and the edited model in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from govern.digests import sha256_file
from govern.errors import IntegrityError, SourceError, UsageError
from govern.evidence.verify import CheckedPack
from govern.signing.model_signature import MODEL_SIGNATURE, verify_model
from govern.sources.model_files import model_digest


def check_delta(checked: CheckedPack, delta: Path) -> None:
    """Check that a file is the delta of the pack's run. Raises IntegrityError, UsageError where it cannot be read."""
    try:
        found = sha256_file(delta)
    except OSError as error:
        raise UsageError(f"the delta cannot be read: {error.strerror}", where=str(delta)) from None
    if found != checked.claim.delta_sha256:
        raise IntegrityError(
            f"this is not the delta of run {checked.claim.run}: that one is sha256:{checked.claim.delta_sha256}, this "
            f"one sha256:{found}",
            where=str(delta),
        )


def check_model(checked: CheckedPack, folder: Path) -> bool:
    """Check that a folder holds the model that the pack's run made; returns whether it is signed as well.

    The model's digest covers all that loading reads. A `model.sig` in the folder covers every file beside
    it, and must be by the report's signer. Raises IntegrityError, UsageError where the folder holds no model.
    """
    try:
        found = model_digest(folder, like=checked.claim.model_after)
    except SourceError as error:
        raise UsageError(error.message, where=error.where, hint=error.hint) from None
    if found != checked.claim.model_after:
        raise IntegrityError(
            f"this is not the model that run {checked.claim.run} made: that one is sha256:{checked.claim.model_after}, "
            f"this one sha256:{found}",
            where=str(folder),
        )
    signature = folder / MODEL_SIGNATURE
    if not signature.is_file():
        return False
    try:
        signed = verify_model(signature.read_bytes(), checked.signer)
    except IntegrityError as error:
        raise IntegrityError(error.message, where=str(signature), hint=error.hint) from None
    present = model_folder(folder)
    for name in sorted(signed.keys() | present.keys()):
        if signed.get(name) != present.get(name):
            state = "was changed" if name in signed and name in present else "is missing"
            raise IntegrityError(f"it {state if name in signed else 'was not signed'}", where=str(folder / name))
    return True


def model_folder(folder: Path) -> dict[str, str]:
    """Every file of a model's folder but its signature: path in it → SHA-256. Raises IntegrityError for a link."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise IntegrityError("a link has no place in a signed model", where=str(path))
        if path.is_file() and name != MODEL_SIGNATURE:
            found[name] = sha256_file(path)
    return found
