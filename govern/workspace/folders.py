"""The workspace (`audits/` by default) and the folder of one run."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from govern.errors import GovernError, IntegrityError, UsageError
from govern.workspace.atomic import write_atomic

_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class RunFolder:
    """`runs/<id>/`: everything that one run reads back later. Names are relative and stay inside."""

    root: Path

    @property
    def id(self) -> str:
        """The run's id: the folder's name."""
        return self.root.name

    def path(self, name: str) -> Path:
        """The path of an artefact.

        Raises UsageError for a name that leaves the folder, IntegrityError where a link leads out of it.
        """
        path = self.root / name
        if not Path(os.path.normpath(path)).is_relative_to(self.root):
            raise UsageError(f"{name!r} leaves the run's folder", where=str(self.root))
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except RuntimeError:  # a link that leads to itself
            inside = False
        if not inside:
            raise IntegrityError("a link leads out of the run's folder", where=str(path))
        return path

    def write(self, name: str, data: bytes) -> None:
        """Write an artefact atomically, making its folder where needed."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)

    def read(self, name: str) -> bytes:
        """Read an artefact. Raises IntegrityError where it is missing: a run's artefacts do not just vanish."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            raise IntegrityError(
                f"{name} is missing from run {self.id}",
                where=str(self.root / name),
                hint="Restore it from a backup, or apply the policy again.",
            ) from None

    def artefacts(self) -> set[str]:
        """The names of everything in the run's folder but its lock."""
        return {path.name for path in self.root.iterdir()} - {".lock"}

    def next_numbered(self, name: str) -> str:
        """The next folder of a series such as `reports/001`; earlier ones stay as they are."""
        folder = self.path(name)
        earlier = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
        return f"{name}/{max(earlier, default=0) + 1:03d}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one process. Raises GovernError at once where another one has it."""
        try:
            with FileLock(self.root / ".lock", timeout=0):
                yield
        except Timeout:
            raise GovernError(
                f"run {self.id} is in use by another process", where=str(self.root), hint="Wait for it to end."
            ) from None


@dataclass(frozen=True)
class Workspace:
    """A folder with the audit log and the runs."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Open a workspace. Nothing is made: its folders come with the first log and the first run.

        Raises UsageError where `root` cannot be one.
        """
        try:
            if not stat.S_ISDIR(root.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(f"cannot use {root} as a workspace: {error.strerror}", where=str(root)) from None
        return cls(root)

    @classmethod
    def existing(cls, root: Path) -> Workspace:
        """A workspace that is only read: nothing is made. Raises UsageError where there is none."""
        if not root.is_dir():
            raise UsageError(
                "there is no workspace here",
                where=str(root),
                hint="Name another one with --workspace, or begin this one: govern apply POLICY",
            )
        return cls(root)

    @property
    def database(self) -> Path | str:
        """Where the audit log is: a SQLite file here, or the URL that `log.url` holds.

        Raises IntegrityError where that file says nothing: it stands for a log that is elsewhere.
        """
        try:
            url = self.log_url.read_text("utf-8").strip()
        except FileNotFoundError:
            return self.root / "audit.db"
        except (OSError, UnicodeDecodeError):
            url = ""
        if not url:
            raise IntegrityError(
                "it does not say where the audit log is", where=str(self.log_url), hint="Restore it from a backup."
            )
        return url

    @property
    def log_url(self) -> Path:
        """The file with the URL of the audit log, where that is no file of this folder."""
        return self.root / "log.url"

    @property
    def trust(self) -> Path:
        """The trust document in force. Its signature and those before it are in the folder `trust`."""
        return self.root / "trust.yaml"

    def run(self, run_id: str) -> RunFolder:
        """The folder of an existing run. Raises UsageError where there is none of that id."""
        folder = self.root / "runs" / run_id
        if not _RUN_ID.fullmatch(run_id) or not folder.is_dir():
            known = [run.id for run in self.runs()][-3:]
            hint = f"The newest runs are: {', '.join(known)}." if known else "Start one with: govern apply POLICY"
            raise UsageError(f"there is no run {run_id!r}", where=str(self.root), hint=hint)
        return RunFolder(folder)

    def runs(self) -> list[RunFolder]:
        """All runs, oldest first (ids begin with their UTC time)."""
        folders = (self.root / "runs").iterdir() if (self.root / "runs").is_dir() else ()
        return [RunFolder(path) for path in sorted(folders) if path.is_dir() and _RUN_ID.fullmatch(path.name)]

    def new_run(self, name: str) -> RunFolder:
        """Make the folder of a new run of the policy called `name`."""
        return self._new("runs", name)

    def sweep(self, sweep_id: str) -> RunFolder:
        """The folder of an existing sweep. Raises UsageError where there is none of that id."""
        folder = self.root / "sweeps" / sweep_id
        if not _RUN_ID.fullmatch(sweep_id) or not folder.is_dir():
            raise UsageError(
                f"there is no sweep {sweep_id!r}", where=str(self.root), hint="Start one with: govern sweep POLICY"
            )
        return RunFolder(folder)

    def sweeps(self) -> list[RunFolder]:
        """All sweeps, oldest first."""
        folders = (self.root / "sweeps").iterdir() if (self.root / "sweeps").is_dir() else ()
        return [RunFolder(path) for path in sorted(folders) if path.is_dir() and _RUN_ID.fullmatch(path.name)]

    def new_sweep(self, name: str) -> RunFolder:
        """Make the folder of a new sweep of the policy called `name`."""
        return self._new("sweeps", name)

    def _new(self, kind: str, name: str) -> RunFolder:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = self.root / kind / f"{stamp}-{name[:32].rstrip('-')}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        return RunFolder(folder)
