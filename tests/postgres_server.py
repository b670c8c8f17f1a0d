"""A real PostgreSQL server of the tests' own, on a socket in a folder that nobody else can enter, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Who is known by a password only: `postgres`, the superuser, needs none.
_ACCESS = "local all stranger scram-sha-256\nlocal all all trust\n"


def find_binaries() -> Path | None:
    """The folder with initdb and pg_ctl; Debian keeps them out of the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return versions[-1] if versions else None


@dataclass(frozen=True)
class PostgresServer:
    """A server, running or stopped. Its superuser is `postgres`."""

    binaries: Path
    folder: Path

    @classmethod
    def make(cls, binaries: Path, parent: Path | None = None) -> PostgresServer:
        """A new, empty server, started, in a folder of its own in `parent`."""
        # Short, since the path of a socket may have 107 bytes; in memory where possible, since the tests kill processes
        # and never the power.
        parent = parent or next(Path(path) for path in ("/dev/shm", "/tmp") if os.access(path, os.W_OK))
        server = cls(binaries, Path(tempfile.mkdtemp(prefix="govern-pg-", dir=parent)))
        if os.geteuid() == 0:
            shutil.chown(server.folder, server._user())
        server._run("initdb", "--pgdata", str(server._data), "--username=postgres", "--auth=trust", "--encoding=UTF8")
        (server._data / "pg_hba.conf").write_text(_ACCESS)
        server.start()
        return server

    def url(self, database: str, *, user: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c max_connections=200"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self.folder / "log"), "-o", options)

    def crash(self) -> None:
        """Kill it without a chance to write anything, and wait until all of its processes are gone."""
        main = int((self._data / "postmaster.pid").read_text().split("\n")[0])
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(main)], capture_output=True, text=True, check=True)
        # Children that outlive the first process would hold its shared memory.
        for process in (main, *map(int, children.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            while _runs(process):
                time.sleep(0.01)
        # In a container nobody may have buried the first process, and the next one would take it for alive.
        for left in (self._data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            left.unlink()

    def restart(self) -> None:
        """Start it once more, whether it still runs or not."""
        if (self._data / "postmaster.pid").exists():
            self.crash()
        self.start()

    def remove(self) -> None:
        """Stop it and delete all that it had."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self._data))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @staticmethod
    def _user() -> str:
        # PostgreSQL refuses to run as root.
        known = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in known else "nobody"

    def _run(self, program: str, *arguments: str) -> None:
        user = pwd.getpwnam(self._user()) if os.geteuid() == 0 else None
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
