"""A witness's file in a git repository only grows: nothing is overwritten on either side, and what was is noticed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_log import cut, grow, key_of

from govern.errors import IntegrityError, UsageError
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.log.git_witness import witness_git
from govern.workflow.publication.audit import audit

FILE = "logs/govern.witness"
IDENTITY = {
    f"GIT_{who}_{what}": f"host@{what}".lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **IDENTITY}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def hosted(tmp_path: Path) -> Path:
    """A bare repository, empty as a host makes it."""
    git(tmp_path, "init", "--quiet", "--bare", "hosted.git")
    return tmp_path / "hosted.git"


def more(workspace: Path) -> None:
    grow(workspace)
    sign_head(workspace, key=key_of(workspace))


def content(hosted: Path) -> bytes:
    return git(hosted, "show", f"main:{FILE}").encode()


def test_every_checkpoint_is_a_commit(logged: Path, hosted: Path, tmp_path: Path) -> None:
    first = witness_git(logged, str(hosted), FILE)
    assert (first.seen.added, first.seen.count) == (True, 1)
    again = witness_git(logged, str(hosted), FILE)
    assert (again.seen.added, again.commit) == (False, first.commit)
    more(logged)
    second = witness_git(logged, str(hosted), FILE)
    assert git(hosted, "log", "--format=%H %s", "main").splitlines() == [
        f"{second.commit} {second.seen.newest.origin}: 12 events",
        f"{first.commit} {first.seen.newest.origin}: 7 events",
    ]
    # An auditor's own clone.
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(hosted), "clone")
    assert audit(logged, against=tmp_path / "clone" / FILE).against == second.seen.newest


def test_other_people_s_files_stay_as_they_are(logged: Path, hosted: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(hosted), "clone")
    clone = tmp_path / "clone"
    (clone / "README").write_text("whose this is")
    git(clone, "add", "README")
    git(clone, "commit", "--quiet", "-m", "begin")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/trunk")
    git(hosted, "symbolic-ref", "HEAD", "refs/heads/trunk")
    done = witness_git(logged, str(hosted), FILE)
    assert git(hosted, "ls-tree", "-r", "--name-only", "trunk").splitlines() == ["README", FILE]
    assert git(hosted, "rev-parse", "trunk").strip() == done.commit


def changed_by_the_host(hosted: Path, tmp_path: Path, data: bytes | None) -> None:
    shutil.rmtree(tmp_path / "clone", ignore_errors=True)
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(hosted), "clone")
    path = tmp_path / "clone" / FILE
    path.parent.mkdir(exist_ok=True)
    path.unlink() if data is None else path.write_bytes(data)
    git(tmp_path / "clone", "add", "--all")
    git(tmp_path / "clone", "commit", "--quiet", "-m", "tidy")
    git(tmp_path / "clone", "push", "--quiet", "origin", "main")


@pytest.mark.parametrize("kind", ["cut", "emptied", "deleted", "reordered", "repeated"])
def test_a_commit_that_takes_something_out_is_found_even_after_it_was_put_back(
    logged: Path, hosted: Path, tmp_path: Path, kind: str
) -> None:
    witness_git(logged, str(hosted), FILE)
    first = content(hosted)
    more(logged)
    witness_git(logged, str(hosted), FILE)
    both = content(hosted)
    reordered = both[len(first) :] + first
    changes = {"cut": first, "emptied": b"", "deleted": None, "reordered": reordered, "repeated": b"x" + both}
    changed_by_the_host(hosted, tmp_path, changes[kind])
    with pytest.raises(IntegrityError, match="may only grow") as refused:
        witness_git(logged, str(hosted), FILE)
    assert FILE in str(refused.value.where)
    changed_by_the_host(hosted, tmp_path, both)
    with pytest.raises(IntegrityError, match="may only grow"):
        witness_git(logged, str(hosted), FILE)


def test_a_history_that_was_rewritten_is_noticed(logged: Path, hosted: Path) -> None:
    first = witness_git(logged, str(hosted), FILE)
    more(logged)
    second = witness_git(logged, str(hosted), FILE)
    git(hosted, "update-ref", "refs/heads/main", first.commit)
    with pytest.raises(IntegrityError, match="rewritten or replaced"):
        witness_git(logged, str(hosted), FILE)
    assert git(hosted, "rev-parse", "main").strip() == first.commit
    git(hosted, "update-ref", "-d", "refs/heads/main")
    with pytest.raises(IntegrityError, match="rewritten or replaced"):
        witness_git(logged, str(hosted), FILE)
    git(hosted, "update-ref", "refs/heads/main", second.commit)
    assert not witness_git(logged, str(hosted), FILE).seen.added


def test_a_side_branch_that_is_merged_may_not_take_anything_out_either(
    logged: Path, hosted: Path, tmp_path: Path
) -> None:
    witness_git(logged, str(hosted), FILE)
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(hosted), "clone")
    clone = tmp_path / "clone"
    git(clone, "switch", "--quiet", "-c", "side")
    original = (clone / FILE).read_bytes()
    (clone / FILE).write_bytes(b"")
    git(clone, "commit", "--quiet", "--all", "-m", "empty")
    (clone / FILE).write_bytes(original)
    git(clone, "commit", "--quiet", "--all", "-m", "put back")
    git(clone, "switch", "--quiet", "main")
    git(clone, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
    git(clone, "push", "--quiet", "origin", "main")
    with pytest.raises(IntegrityError, match="may only grow"):
        witness_git(logged, str(hosted), FILE)


def test_a_rewritten_log_is_refused_and_nothing_is_pushed(logged: Path, hosted: Path) -> None:
    before = witness_git(logged, str(hosted), FILE)
    cut(logged, 3)
    shutil.rmtree(logged / "checkpoints")
    grow(logged, 9)
    sign_head(logged, key=key_of(logged))
    with pytest.raises(IntegrityError, match="rewritten") as refused:
        witness_git(logged, str(hosted), FILE)
    assert f"{hosted}:{FILE}" in str(refused.value.where)
    assert git(hosted, "rev-parse", "main").strip() == before.commit


@pytest.mark.parametrize("name", ["a blob 3", "*.witness", ":(top)x", "é"])
def test_a_file_may_be_called_anything(logged: Path, hosted: Path, tmp_path: Path, name: str) -> None:
    """And a second file of a repository is held from its own beginning on."""
    witness_git(logged, str(hosted), FILE)
    witness_git(logged, str(hosted), name)
    first = git(hosted, "show", f"main:{name}").encode()
    assert first == content(hosted)
    more(logged)
    assert witness_git(logged, str(hosted), name).seen.count == 2
    git(tmp_path, "clone", "--quiet", "--branch", "main", str(hosted), "clone")
    (tmp_path / "clone" / name).write_bytes(first)
    git(tmp_path / "clone", "commit", "--quiet", "--all", "-m", "cut")
    git(tmp_path / "clone", "push", "--quiet", "origin", "main")
    with pytest.raises(IntegrityError, match="may only grow"):
        witness_git(logged, str(hosted), name)
    assert witness_git(logged, str(hosted), FILE).seen.added


def test_a_second_workspace_takes_up_the_file(logged: Path, hosted: Path, tmp_path: Path) -> None:
    witness_git(logged, str(hosted), FILE)
    shutil.copytree(logged, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "witnesses")
    more(tmp_path / "copy")
    assert witness_git(tmp_path / "copy", str(hosted), FILE).seen.count == 2
    # The first one learns of it, and its own log does not reach that far.
    with pytest.raises(IntegrityError, match="cut off"):
        witness_git(logged, str(hosted), FILE)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../b", "a//b", "line\nbreak"])
def test_a_path_that_leaves_the_repository_is_refused(logged: Path, hosted: Path, name: str) -> None:
    with pytest.raises(UsageError, match="path in a repository"):
        witness_git(logged, str(hosted), name)


def test_what_is_no_repository_is_said_plainly(logged: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="git refuses"):
        witness_git(logged, str(tmp_path / "nothing.git"), FILE)
    with pytest.raises(UsageError, match="git refuses"):
        witness_git(logged, "ext::sh -c touch% here", FILE)
    with pytest.raises(UsageError, match="git refuses"):
        witness_git(logged, "--upload-pack=touch here", FILE)
    with pytest.raises(UsageError, match="password"):
        witness_git(logged, "https://user:secret@example.org/x.git", FILE)


def test_a_link_in_the_repository_is_not_followed(logged: Path, hosted: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(hosted), "clone")
    (tmp_path / "clone" / "govern.witness").symlink_to(logged / "checkpoints" / "7")
    git(tmp_path / "clone", "add", "govern.witness")
    git(tmp_path / "clone", "commit", "--quiet", "-m", "a link")
    git(tmp_path / "clone", "push", "--quiet", "origin", "HEAD:refs/heads/main")
    git(hosted, "symbolic-ref", "HEAD", "refs/heads/main")
    with pytest.raises(IntegrityError, match="series of checkpoints"):
        witness_git(logged, str(hosted), "govern.witness")


def test_the_command_line(logged: Path, hosted: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "govern", "audit", "witness", FILE, "--git", str(hosted), *arguments]
        done = subprocess.run(
            [*command, "--workspace", str(logged)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"{FILE}: checkpoint of 7 events added, 1 in all" in run()
    told = json.loads(run("--json"))
    assert (told["added"], told["commit"]) == (False, git(hosted, "rev-parse", "main").strip())
