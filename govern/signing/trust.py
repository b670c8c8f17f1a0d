"""Whose signature is it: the public keys that this workspace's people have pinned.

A pinned key is a `.pub` file in the workspace's `trusted` folder, named after its holder. A valid signature by any
other key is "valid, signer unknown".
"""

from __future__ import annotations

from pathlib import Path

from govern.errors import IntegrityError, UsageError
from govern.signing.keys import load_public


def trusted_keys(folder: Path) -> dict[str, str]:
    """The pinned keys of `folder`, which need not exist: fingerprint → holder.

    Raises UsageError for a file that is no P-256 public key, and for one key under two names: then it is unclear who
    signed.
    """
    holders: dict[str, str] = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            fingerprint = load_public(path.read_bytes()).fingerprint
        except IntegrityError as error:
            raise UsageError(error.message, where=str(path), hint="Replace or remove the file.") from None
        except OSError as error:
            raise UsageError(f"the pinned key cannot be read: {error.strerror}", where=str(path)) from None
        if fingerprint in holders:
            raise UsageError(
                f"this key is pinned as {holders[fingerprint]} too", where=str(path), hint="Remove one of the two."
            )
        holders[fingerprint] = path.stem
    return holders
