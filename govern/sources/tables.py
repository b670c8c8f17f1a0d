"""Texts through the `datasets` library: parquet files and data sets on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from govern.errors import SourceError, UsageError
from govern.sources.hub import explain
from govern.sources.texts import missing_column


def parquet_texts(path: Path, column: str) -> Iterator[str]:
    """The texts of a parquet file, batch by batch. Raises SourceError where it is none or lacks the column."""
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise missing_column(column, names, str(path))
            for batch in file.iter_batches(columns=[column]):
                yield from _texts(batch.column(0).to_pylist(), column, str(path))
    except (pyarrow.ArrowException, OSError):
        raise SourceError("the file is not parquet, or is damaged", where=str(path)) from None


def hub_texts(
    name: str, *, subset: str | None, split: str | None, column: str, revision: str | None
) -> tuple[Iterator[str], str | None, str | None]:
    """The texts of one split of a hub data set, at its newest commit where `revision` is None; its commit and licence.

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
    if column not in rows.column_names:
        raise missing_column(column, rows.column_names, where)
    batches = rows.select_columns([column]).iter(1000)
    texts = (text for batch in batches for text in _texts(batch[column], column, where))
    return texts, revision, licence if isinstance(licence, str) else None


def _texts(values: list[object], column: str, where: str) -> Iterator[str]:
    for value in values:
        if not isinstance(value, str):
            raise SourceError(f"column {column!r} does not hold text", where=where)
        yield value
