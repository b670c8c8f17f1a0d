"""`govern audit witness --git`: a witness's file in a git repository that somebody else hosts.

The workspace remembers what it saw in `witnesses/`, one bare repository for each file, so a history that was rewritten
on the other side is noticed: git is never told to overwrite anything, here or there. Nothing is checked out.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from filelock import FileLock

from govern.audit import LogVerifier
from govern.digests import sha256_bytes
from govern.errors import GovernError, IntegrityError, UsageError
from govern.workflow.log.witness import Witnessed, witness
from govern.workspace import Workspace

TIMEOUT: Final = 300  # seconds
_KNOWN: Final = "refs/heads/witness"
_FETCHED: Final = "refs/fetched/main"
_IDENTITY: Final = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "govern"), ("EMAIL", "govern@localhost"))
}
_OURS: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")


@dataclass(frozen=True)
class GitWitnessed:
    """A witness's file, called `name` in the repository, and the commit that it is now in."""

    name: str
    repository: str
    commit: str
    seen: Witnessed


def witness_git(workspace: Path, repository: str, name: str, *, verifier: LogVerifier | None = None) -> GitWitnessed:
    """Add the log's newest checkpoint to the file `name` of a repository's main branch, and push that.

    Every commit of the file must have added to the one before. Raises IntegrityError where it did not, where the
    repository's history is not the one of last time, or where the log does not go on from a checkpoint in it;
    UsageError where the repository cannot be used.
    """
    _refuse_unsafe(repository, name)
    place = Workspace.open(workspace)
    source = str(Path(repository).resolve()) if Path(repository).exists() else repository
    folder = place.root / "witnesses"
    folder.mkdir(exist_ok=True)
    digest = sha256_bytes(f"{source}\n{name}".encode())
    git = _Git(folder / f"{digest[:16]}.git", source)
    with FileLock(git.mirror.with_suffix(".lock")):
        known, (branch, tip) = git.known(), git.fetch()
        if tip:
            _check_growth(git, name, since=known, tip=tip)
            git.remember(tip)
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "witness"
            if tip and (data := git.read(tip, name)) is not None:
                file.write_bytes(data)
            try:
                seen = witness(workspace, file, verifier=verifier)
            except GovernError as error:
                error.where = error.where and error.where.replace(str(file), f"{repository}:{name}")
                raise
            if seen.added:
                message = f"{seen.newest.origin}: {seen.newest.size} events"
                commit = git.commit(tip, name, file.read_bytes(), message)
                git.push(commit, branch)
                git.remember(commit)
                return GitWitnessed(name, repository, commit, seen)
    assert tip  # noqa: S101 - a file that holds the checkpoint already is in a commit
    return GitWitnessed(name, repository, tip, seen)


def _refuse_unsafe(repository: str, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or not name.isprintable():
        raise UsageError("this is not a file's path in a repository", where=name)
    if urlsplit(repository).password:
        raise UsageError(
            "a password has no place in an argument",
            where="--git",
            hint="Let git ask its credential helper, or use a key (ssh).",
        )


def _check_growth(git: _Git, name: str, *, since: str | None, tip: str) -> None:
    """Hold every commit that touches the file, of those that were not held last time, against the ones before it.

    Raises IntegrityError.
    """
    # With --parents and a path, git names as parents the nearest commits that touch the path, of every side of a merge.
    new = [tip, *([f"^{since}"] if since else [])]
    told = git.run("rev-list", "--full-history", "--parents", *new, "--", name).decode()
    for commit, *parents in (line.split() for line in told.splitlines()):
        after = git.read(commit, name)
        for parent in parents:
            if after is None or not after.startswith(git.read(parent, name) or b""):
                raise IntegrityError(
                    "a commit took something out of the witness's file or changed it; it may only grow",
                    where=f"{git.source}:{name} at {commit}",
                    hint="Ask who hosts the repository. The commit before it still holds what was there.",
                )


@dataclass(frozen=True)
class _Git:
    """What is known of the repository `source`: its main branch as of last time, in the bare repository `mirror`."""

    mirror: Path
    source: str

    def known(self) -> str | None:
        """The newest commit of last time."""
        if not self.mirror.exists():
            self.run("init", "--quiet", "--bare", "--template=", str(self.mirror), inside=False)
        return self.run("for-each-ref", "--format=%(objectname)", _KNOWN).decode().strip() or None

    def remember(self, commit: str) -> None:
        """Make a commit the newest one that is known."""
        self.run("update-ref", _KNOWN, commit)

    def fetch(self) -> tuple[str, str | None]:
        """The main branch and its newest commit, None for none yet. Raises IntegrityError where it was rewritten."""
        told = self.run("ls-remote", "--symref", "--", self.source, inside=False).decode().splitlines()
        mains = [line[5:].split("\t")[0] for line in told if line.startswith("ref: refs/heads/")]
        # A host's empty repository may name a main branch that nobody ever pushes.
        branch = mains[0] if mains else "refs/heads/main"
        if not any(line.endswith(f"\t{branch}") for line in told):
            if self.known():
                raise self._rewritten()
            return branch, None
        self.run("fetch", "--quiet", "--no-tags", "--", self.source, f"+{branch}:{_FETCHED}")
        if self.known() and self.run("rev-list", "--max-count=1", _KNOWN, f"^{_FETCHED}"):
            raise self._rewritten()
        return branch, self.run("rev-parse", "--verify", f"{_FETCHED}^{{commit}}").decode().strip()

    def read(self, commit: str, name: str) -> bytes | None:
        """The bytes of a file in a commit, None where there is none."""
        told = self.run("cat-file", "--batch", stdin=f"{commit}:{name}\n".encode())
        head, _, rest = told.partition(b"\n")
        return rest[:-1] if not head.endswith(b" missing") and head.split(b" ")[1] == b"blob" else None

    def commit(self, parent: str | None, name: str, data: bytes, message: str) -> str:
        """A commit after `parent` that has `data` as the file `name`. Nothing points at it yet."""
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            blob = self.run("hash-object", "-w", "--stdin", stdin=data).decode().strip()
            self.run("read-tree", parent or "--empty", environment=index)
            self.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", environment=index)
            tree = self.run("write-tree", environment=index).decode().strip()
        parents = ["-p", parent] if parent else []
        return self.run("commit-tree", tree, *parents, "-m", message, environment=_IDENTITY).decode().strip()

    def push(self, commit: str, branch: str) -> None:
        """Give the repository a commit, if its branch is still where it was."""
        self.run("push", "--quiet", "--", self.source, f"{commit}:{branch}")

    def run(
        self, *arguments: str, inside: bool = True, stdin: bytes = b"", environment: dict[str, str] | None = None
    ) -> bytes:
        """Run git, in the mirror by default. Raises UsageError with git's own words where it fails."""
        command = ["git", *(["--git-dir", str(self.mirror)] if inside else []), *arguments]
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        settings = {
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        }
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and what comes from outside stands behind `--`
                command,
                input=stdin,
                capture_output=True,
                check=False,
                timeout=TIMEOUT,
                env={**kept, **settings, **(environment or {})},
            )
        except FileNotFoundError:
            raise UsageError("the git command is not installed", where="--git") from None
        except subprocess.TimeoutExpired:
            raise UsageError(f"git did not answer within {TIMEOUT} seconds", where=self.source) from None
        if done.returncode:
            raise UsageError(f"git refuses: {done.stderr.decode(errors='replace').strip()}", where=self.source)
        return done.stdout

    def _rewritten(self) -> IntegrityError:
        return IntegrityError(
            "the repository's history is not the one of last time: it was rewritten or replaced",
            where=self.source,
            hint=f"What it was lies in {self.mirror}. Ask who hosts it.",
        )
