"""From texts to token ids, and token corpora on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from govern.corpora.tokens import TokenCorpus
from govern.digests import canonical_json
from govern.errors import IntegrityError, SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_KEY = "govern.tokens"


def tokenize(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> TokenCorpus:
    """The first `max_tokens` ids of each text, with the special tokens that the tokenizer adds by itself.

    Texts of fewer than two tokens are dropped: they predict nothing, and the first token is masked anyway.
    Raises SourceError where nothing is left.
    """
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"] if texts else []
    documents = tuple(tuple(ids) for ids in encoded if len(ids) > 1)
    if not documents:
        raise SourceError(
            "no text of at least two tokens is left", hint="Check the source's column and `max_tokens` (at least 2)."
        )
    return TokenCorpus(documents)


def write_tokens(corpus: TokenCorpus) -> bytes:
    """A corpus as safetensors: all ids in a row, and each document's length (int32). Equal corpora, equal bytes."""
    import numpy as np
    from safetensors.numpy import save

    ids = [token for document in corpus.documents for token in document]
    arrays = {
        "ids": np.asarray(ids, dtype=np.int32),
        "lengths": np.asarray([len(document) for document in corpus.documents], dtype=np.int32),
    }
    stated = canonical_json({"digest": corpus.digest, "format_version": 1}).decode()
    return save(arrays, metadata={_KEY: stated})


def read_tokens(data: bytes) -> TokenCorpus:
    """Read what `write_tokens` wrote. Raises IntegrityError where it is damaged or not what its digest says."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        length = int.from_bytes(data[:8], "little")
        stated = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
        arrays = load(data)
        ids, lengths = arrays["ids"].tolist(), arrays["lengths"].tolist()
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise IntegrityError("the stored tokens are damaged") from None
    if min([*ids, *lengths], default=0) < 0:
        raise IntegrityError("the stored tokens are damaged: an id or a length is negative")
    documents, start = [], 0
    for size in lengths:
        documents.append(tuple(ids[start : start + size]))
        start += size
    corpus = TokenCorpus(tuple(documents))
    if start != len(ids) or stated != {"digest": corpus.digest, "format_version": 1}:
        raise IntegrityError(f"the stored tokens are sha256:{corpus.digest}, their file states {stated}")
    return corpus
