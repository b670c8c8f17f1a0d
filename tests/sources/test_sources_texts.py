"""Texts from files, and errors that say where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from govern.errors import SourceError, UsageError
from govern.sources import resolve_texts

NOTHING = {"subset": None, "split": None, "column": None, "revision": None}


def texts(base: Path, name: str, **given) -> tuple[str, ...]:
    return resolve_texts(f"file:{name}", base=base, **{**NOTHING, **given}).texts


def test_jsonl_has_one_object_a_line(tmp_path) -> None:
    lines = [
        json.dumps({"text": "one\u2028still one", "n": 1}),
        "",
        json.dumps({"text": "zwei — 二", "n": 2}),
        '{"text": " "}',
    ]
    (tmp_path / "a.jsonl").write_text("\r\n".join(lines), encoding="utf-8")
    assert texts(tmp_path, "a.jsonl") == ("one\u2028still one", "zwei — 二")


def test_a_raw_line_separator_ends_no_line(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\u2028b\u0085c"}\n', encoding="utf-8")
    assert texts(tmp_path, "a.jsonl") == ("a\u2028b\u0085c",)


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ('{"text": "secret"', "2:18", "not JSON"),
        ("[1]", "2:1", "not a JSON object"),
        ('{"body": "secret", "id": 1}', "2:1", "no column 'text'"),
        ('{"text": 7}', "2:1", "does not hold text"),
        ("[" * 100_000, "2:1", "nested too deeply"),
        ('{"text": "fine", "n": ' + "9" * 5000 + "}", "2:1", "too many digits"),
        ('{"text": "secret \\ud800"}', "2:1", "lone surrogate"),
    ],
)
def test_a_bad_line_has_its_place(tmp_path, line, place, message) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(SourceError, match=message) as refused:
        texts(tmp_path, "a.jsonl")
    assert refused.value.where == f"{path}:{place}"
    assert "secret" not in str(refused.value)  # a line of forget text is not to be repeated
    if "no column" in message:
        assert refused.value.hint == "Its columns are: 'body', 'id'."


def test_txt_has_one_document_a_line(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n  \ntwo words\n")
    assert texts(tmp_path, "a.txt") == ("one", "two words")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_a_byte_order_mark_is_dropped(tmp_path, name) -> None:
    line = '{"text": "one"}' if name == "a.jsonl" else "one"
    (tmp_path / name).write_text(f"{line}\n", encoding="utf-8-sig")
    assert texts(tmp_path, name) == ("one",)


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_no_more_is_read_than_is_asked_for(tmp_path, name) -> None:
    """What lies behind is no text in UTF-8 at all, and far enough to be in no buffer."""
    line = '{"text": "one"}\n' if name == "a.jsonl" else "one\n"
    (tmp_path / name).write_bytes(line.encode() * 3 + b"\n" * 100_000 + b"\xff" * 100)
    assert texts(tmp_path, name, documents=3) == ("one",) * 3
    with pytest.raises(SourceError):
        texts(tmp_path, name, documents=4)


def test_parquet_is_read_no_further_either(tmp_path) -> None:
    import pyarrow
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": ["one", " ", "two"] + [None] * 100_000})
    pq.write_table(table, path, row_group_size=3)
    assert texts(tmp_path, "a.parquet", documents=2) == ("one", "two")
    with pytest.raises(SourceError, match="does not hold text"):
        texts(tmp_path, "a.parquet", documents=3)


def test_parquet_is_read_anew_after_a_change(tmp_path) -> None:
    import datasets

    path = tmp_path / "a.parquet"
    for content in ("first", "second"):
        datasets.Dataset.from_dict({"body": [content, "same"], "n": [1, 2]}).to_parquet(str(path))
        assert texts(tmp_path, "a.parquet", column="body") == (content, "same")
    with pytest.raises(SourceError, match="no column 'text'") as refused:
        texts(tmp_path, "a.parquet")
    assert refused.value.hint == "Its columns are: 'body', 'n'."
    with pytest.raises(SourceError, match="does not hold text"):
        texts(tmp_path, "a.parquet", column="n")
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(SourceError, match="not parquet, or is damaged"):
        texts(tmp_path, "a.parquet")


def test_files_that_are_no_text(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for name, message in (
        ("a.csv", r"\.csv is no known form"),
        ("empty.txt", "holds no text"),
        ("latin.txt", "not UTF-8"),
        ("none.txt", "no such file"),
    ):
        with pytest.raises(SourceError, match=message):
            texts(tmp_path, name)


def test_settings_that_mean_nothing_are_refused(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with pytest.raises(UsageError, match="has no subset or split"):
        texts(tmp_path, "a.txt", subset="x", split="train")
    for source in ("self:", "builtin:smollm2-135m-instruct"):
        with pytest.raises(UsageError, match="no texts"):
            resolve_texts(source, base=tmp_path, **NOTHING)


def test_the_shared_wikitext_is_read() -> None:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "wikitext2"
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        pytest.skip("needs ../shared/data/wikitext2")
    assert len(texts(folder, files[0].name)) == 128
