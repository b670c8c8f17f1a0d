"""`govern mirror`: the official question sets as a folder, to carry to a machine without internet, and its hashes."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from govern.digests import sha256_file
from govern.errors import IntegrityError, UsageError
from govern.evaluation.harness import count_official
from govern.evaluation.official import MMLU_DATASET, WIKITEXT_DATASET, WMDP_DATASET, Dataset
from govern.records import Mirror, MirroredDataset
from govern.sources import hub_dataset
from govern.workspace import write_atomic, writing
from govern.workspace.atomic import replace_atomic

MANIFEST = "mirror.json"
DATASETS = {"wmdp": WMDP_DATASET, "mmlu": MMLU_DATASET, "wikitext": WIKITEXT_DATASET}


@dataclass(frozen=True)
class Checked:
    """A mirror that is what its manifest says, and how many questions each official task has in it."""

    folder: Path
    mirror: Mirror
    questions: dict[str, int]


def create(folder: Path, *, names: tuple[str, ...] = tuple(DATASETS)) -> Checked:
    """Lay out the named data sets in `folder`, at their pinned revisions, and write the manifest of their hashes.

    A data set that already lies there is kept as it is and recorded without a revision: it was laid out by hand.
    Raises UsageError for an unknown name or a finished mirror, SourceError where the hub cannot give a data set,
    IntegrityError where one does not hold the published numbers of questions.
    """
    unknown = [name for name in names if name not in DATASETS]
    if unknown:
        raise UsageError(f"there is no official data set {unknown[0]!r}", hint=f"There are: {', '.join(DATASETS)}.")
    if (folder / MANIFEST).exists():
        raise UsageError(
            "this is a mirror already",
            where=str(folder),
            hint=f"Check it: govern mirror check {folder}; or name a new one.",
        )
    with writing("the mirror", folder):
        folder.mkdir(parents=True, exist_ok=True)
    laid = tuple(_lay(folder, DATASETS[name]) for name in names)
    mirror = Mirror(datasets=laid, files=_hashes(folder, laid))
    questions = count_official([dataset.path for dataset in laid], folder)
    with writing("the mirror's manifest", folder / MANIFEST):
        write_atomic(folder / MANIFEST, mirror.canonical())
    return Checked(folder, mirror, questions)


def check(folder: Path) -> Checked:
    """Hold a mirror against its manifest, and count its questions.

    Raises UsageError where there is no manifest, IntegrityError naming the first file that is missing, added or changed
    or the set whose number of questions is not the published one.
    """
    path = folder / MANIFEST
    try:
        mirror = Mirror.parse(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"the mirror's manifest cannot be read: {error.strerror}",
            where=str(path),
            hint="Make it: govern mirror create DIR",
        ) from None
    except ValidationError:
        raise IntegrityError("this is no mirror's manifest", where=str(path)) from None
    found = _hashes(folder, mirror.datasets)
    for name in sorted({*found, *mirror.files}):
        if found.get(name) != mirror.files.get(name):
            what = "is missing" if name not in found else "was added" if name not in mirror.files else "was changed"
            raise IntegrityError(
                f"{name} {what} since the mirror was made",
                where=str(folder / name),
                hint="Copy the mirror again from where it was made.",
            )
    return Checked(folder, mirror, count_official([dataset.path for dataset in mirror.datasets], folder))


def _lay(folder: Path, dataset: Dataset) -> MirroredDataset:
    place = folder / dataset.path
    if place.is_dir():
        return MirroredDataset(path=dataset.path, revision=None)
    with writing("the mirror", place):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        hub_dataset(dataset.path, revision=dataset.revision, into=temporary)
        temporary.chmod(0o755)
        replace_atomic(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return MirroredDataset(path=dataset.path, revision=dataset.revision)


def _hashes(folder: Path, datasets: tuple[MirroredDataset, ...]) -> dict[str, str]:
    paths = [path for dataset in datasets for path in (folder / dataset.path).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(paths)}
