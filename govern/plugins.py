"""What other distributions offer through an entry point group, and what of them a record binds.

Nothing of a distribution is imported until its plugin is loaded. What is loaded is what the digest covers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from govern.digests import canonical_digest, sha256_file
from govern.errors import UsageError

# What an installer writes for itself, which differs from one machine to the next.
_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


@dataclass(frozen=True)
class Plugin:
    """One entry point of another distribution. `rival` is a second distribution that offers the same name."""

    name: str
    entry: EntryPoint
    installed: Distribution
    rival: str | None = None

    @property
    def distribution(self) -> str:
        """The distribution's name, as it writes it."""
        return str(self.installed.metadata["Name"])

    @property
    def version(self) -> str:
        """The distribution's version."""
        return self.installed.version

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the RFC 8785 form of {path: SHA-256} of the files in the distribution's RECORD, in hex.

        Bytecode, scripts and what an installer writes for itself are left out. Raises UsageError as `load` does.
        """
        return canonical_digest({name: sha256_file(path) for name, path in sorted(self._files().items())})

    def load(self) -> Any:
        """Import what the entry point names.

        Raises UsageError where two distributions offer the name, where the files that would be imported are not those
        of the distribution's RECORD, or where the import fails.
        """
        files = self._files()
        try:
            loaded = self.entry.load()
        except Exception as error:
            raise self._unusable(f"cannot be imported: {type(error).__name__}: {error}") from error
        origin = getattr(sys.modules[self.entry.module], "__file__", None)
        if origin is None or Path(origin).resolve() not in files.values():
            raise self._unusable(f"is imported from {origin}, which is none of the distribution's own files")
        return loaded

    def _files(self) -> dict[str, Path]:
        if self.rival is not None:
            raise self._unusable(f"is offered by {self.rival} as well", hint="Uninstall one of the two.")
        found = {
            str(file): Path(str(file.locate())).resolve()
            for file in self.installed.files or ()
            if file.suffix != ".pyc" and file.name not in _INSTALLERS and ".." not in file.parts
        }
        missing = next((name for name, path in found.items() if not path.is_file()), None)
        if missing is not None:
            raise self._unusable(f"lacks {missing}, which the distribution's RECORD lists")
        if not any(name.endswith(".py") for name in found):
            raise self._unusable("has no code that the distribution's RECORD lists, so no digest can cover it")
        return found

    def _unusable(self, reason: str, hint: str | None = None) -> UsageError:
        return UsageError(
            f"{self.name!r} of the distribution {self.distribution} {self.version} {reason}",
            where=f"{self.entry.group}: {self.entry.value}",
            hint=hint or "Install the distribution anew, and not in editable mode.",
        )


def discovered(group: str) -> Mapping[str, Plugin]:
    """The plugins of an entry point group, such as "govern.methods", by name, in the order of their names.

    Raises nothing: what is wrong with a plugin is said when it is used.
    """
    found: dict[str, Plugin] = {}
    for entry in entry_points(group=group):
        if entry.dist is not None:
            earlier = found.get(entry.name)
            found[entry.name] = Plugin(entry.name, entry, entry.dist, earlier.distribution if earlier else None)
    return dict(sorted(found.items()))
