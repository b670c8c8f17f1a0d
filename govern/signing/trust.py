"""Whose signature is it: the public keys that this workspace's people have pinned.

A pinned key is a `.pub` file in the workspace's `trusted` folder, named after its holder. A valid signature by any
other key is "valid, signer unknown".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.errors import IntegrityError, UsageError
from govern.signing.keys import PublicKey, load_public


@dataclass(frozen=True)
class Trusted:
    """The pinned keys, by fingerprint."""

    _holders: dict[str, tuple[str, PublicKey]]

    def name_of(self, fingerprint: str) -> str | None:
        """The holder's name, or None: signer unknown."""
        holder = self._holders.get(fingerprint)
        return holder[0] if holder else None

    def key(self, fingerprint: str) -> PublicKey | None:
        """The pinned key with this fingerprint."""
        holder = self._holders.get(fingerprint)
        return holder[1] if holder else None


def load_trusted(folder: Path) -> Trusted:
    """Read the `.pub` files of `folder`, which need not exist.

    Raises UsageError for a file that is no P-256 public key, and for one key under two names: then it is unclear who
    signed.
    """
    holders: dict[str, tuple[str, PublicKey]] = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            key = load_public(path.read_bytes())
        except IntegrityError as error:
            raise UsageError(error.message, where=str(path), hint="Replace or remove the file.") from None
        except OSError as error:
            raise UsageError(f"the pinned key cannot be read: {error.strerror}", where=str(path)) from None
        if other := holders.get(key.fingerprint):
            raise UsageError(f"this key is pinned as {other[0]} too", where=str(path), hint="Remove one of the two.")
        holders[key.fingerprint] = (path.stem, key)
    return Trusted(holders)
