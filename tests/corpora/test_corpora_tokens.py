"""From texts to ids, and ids on disk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer

from govern.corpora import TokenCorpus, read_tokens, tokenize, write_tokens
from govern.errors import IntegrityError, SourceError

corpora = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9).map(tuple), max_size=5).map(
    lambda documents: TokenCorpus(tuple(documents))
)


def test_texts_begin_with_what_the_tokenizer_adds_and_are_cut() -> None:
    tokenizer = tiny_tokenizer()
    corpus = tokenize(["Iron has the symbol Fe", "gold"], tokenizer, max_tokens=4)
    assert [document[0] for document in corpus.documents] == [tokenizer.bos_token_id] * 2
    assert len(corpus.documents[0]) == 4
    assert tokenizer.decode(corpus.documents[1], skip_special_tokens=True) == "gold"
    assert corpus.tokens == sum(len(document) for document in corpus.documents)


def test_texts_without_two_tokens_are_dropped() -> None:
    tokenizer = tiny_tokenizer()
    assert len(tokenize(["", "Iron"], tokenizer, max_tokens=8).documents) == 1
    for texts, length in (([""], 8), ([], 8), (["Iron"], 1)):
        with pytest.raises(SourceError, match="two tokens"):
            tokenize(texts, tokenizer, max_tokens=length)


@given(corpora)
def test_what_is_written_is_read(corpus: TokenCorpus) -> None:
    data = write_tokens(corpus)
    assert read_tokens(data) == corpus
    assert write_tokens(read_tokens(data)) == data


@given(corpora.filter(lambda corpus: corpus.tokens > 0), st.data())
def test_a_changed_byte_is_found(corpus: TokenCorpus, data: st.DataObject) -> None:
    stored = bytearray(write_tokens(corpus))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    try:
        found = read_tokens(bytes(stored))
    except IntegrityError:
        return
    assert found == corpus  # a byte that carries nothing, such as a space that pads the header


@pytest.mark.parametrize("name", ["ids", "lengths"])
def test_a_number_below_zero_is_damage(name: str) -> None:
    data = bytearray(write_tokens(TokenCorpus(((1, 2, 3), (4, 5)))))
    start = 8 + int.from_bytes(data[:8], "little")
    end = json.loads(data[8:start])[name]["data_offsets"][1]
    data[start + end - 1] |= 0x80  # the sign of its last number
    with pytest.raises(IntegrityError):
        read_tokens(bytes(data))


def test_another_process_writes_the_same_bytes() -> None:
    script = (
        "import sys; from govern.corpora import *;"
        "sys.stdout.buffer.write(write_tokens(TokenCorpus(((1, 2, 3), (4, 5)))))"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    written = subprocess.run(command, capture_output=True, check=True).stdout
    assert written == write_tokens(TokenCorpus(((1, 2, 3), (4, 5))))


def test_importing_the_room_loads_no_torch() -> None:
    script = (
        "import sys, govern.corpora, govern.models, govern.sources;"
        "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
