"""Texts through the `datasets` library: parquet files and data sets on the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

import datasets
from huggingface_hub import HfApi

from govern.errors import SourceError, UsageError
from govern.sources.hub import explain
from govern.sources.texts import ResolvedTexts, missing_column


def parquet_texts(path: Path, column: str) -> list[str]:
    """The texts of a parquet file. Raises SourceError where it is none or lacks the column.

    The library's cache does not notice every change of a local file, so it gets a folder that dies with this call.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            rows = datasets.Dataset.from_parquet(str(path), cache_dir=scratch, keep_in_memory=True)
        except (datasets.exceptions.DatasetsError, ValueError, OSError):
            raise SourceError("the file is not parquet, or is damaged", where=str(path)) from None
        return _column(rows, column, str(path))


def hub_texts(name: str, *, subset: str | None, split: str | None, column: str, revision: str | None) -> ResolvedTexts:
    """The texts of one split of a hub data set, at its newest commit where `revision` is None.

    Raises UsageError without a split, SourceError where the data are not to be had. Never runs the data set's code.
    """
    where = f"hf:{name}"
    if split is None:
        raise UsageError(f"{where} needs a split", where=where, hint="For example: split: train")
    if Path(name).exists():
        raise SourceError(
            f"the working directory holds {name!r}, which the datasets library would read instead of the hub",
            where=where,
            hint="Run govern from another directory.",
        )
    licence = None
    try:
        if not datasets.config.HF_HUB_OFFLINE:
            info = HfApi().dataset_info(name, revision=revision, timeout=20)
            revision = info.sha or revision
            licence = info.card_data.get("license") if info.card_data else None
        rows = datasets.load_dataset(name, subset, split=split, revision=revision)
    except Exception as error:
        explained = explain("dataset", name, revision, error)
        if explained is None and isinstance(error, (ValueError, datasets.exceptions.DatasetsError)):
            # An unknown subset or split: the library's message lists the known ones.
            # Other messages of the same kind may quote a cell, and this one can end in the log.
            known = str(error) if str(error).startswith(("BuilderConfig", "Unknown split")) else type(error).__name__
            explained = SourceError(f"the data set cannot be read: {known}", where=where)
        if explained is None:
            raise
        raise explained from None
    return ResolvedTexts(tuple(_column(rows, column, where)), revision, licence if isinstance(licence, str) else None)


def _column(rows: datasets.Dataset, column: str, where: str) -> list[str]:
    if column not in rows.column_names:
        raise missing_column(column, rows.column_names, where)
    texts = list(rows[column])
    if not all(isinstance(text, str) for text in texts):
        raise SourceError(f"column {column!r} does not hold text", where=where)
    return texts
