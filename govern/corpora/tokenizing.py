"""From texts to token ids, and token corpora on disk.

A causal model reads on: what a tokenizer puts before a text (a beginning of text) stays, what it puts after one (an end
of text) would have the model answer to a text that is over, so it is left out wherever text is encoded.
"""

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


def encode(text: str, tokenizer: PreTrainedTokenizerBase, *, special: bool = True) -> list[int]:
    """A text's ids for a model to go on from, with the `special` tokens that the tokenizer puts before it."""
    return _encoded([text], tokenizer, special=special)[0]


def encode_choices(
    context: str,
    choices: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    special: bool = True,
    parted: bool = False,
) -> list[tuple[list[int], list[int]]]:
    """The ids of a context and of each of several continuations, such as a question and its choices.

    Each is tokenised together with the context, as a model would write it. All are split where the first of them comes
    apart from the context alone: a token over the seam is the continuation's, and what the others have in its place
    theirs, so that their likelihoods compare. With `parted`, as lm-eval does it, at the length of the context alone
    wherever that leaves the continuation a token. Where nothing is left before a continuation, a beginning or end of
    text is put there. Raises SourceError where the tokenizer has neither, or leaves nothing of a continuation.
    """
    texts = [context, *(context + choice for choice in choices)]
    alone, *wholes = _encoded(texts, tokenizer, special=special)
    split = min(alike(alone, whole) for whole in wholes)
    ends = [len(alone) if parted and len(whole) > len(alone) else split for whole in wholes]
    before = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    lost = min(ends) == 0 and before is None
    if lost or any(len(whole) <= end for whole, end in zip(wholes, ends, strict=True)):
        raise SourceError(
            "the tokenizer leaves no token of a choice, or none before it",
            hint="Give the question and its choices text that the model's tokenizer knows.",
        )
    return [(whole[:end] or [before], whole[end:]) for whole, end in zip(wholes, ends, strict=True)]


def alike(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two rows have in common at their beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def _encoded(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, special: bool = True) -> list[list[int]]:
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
    after = _appended(tokenizer) if special else 0
    return [ids[: len(ids) - after] for ids in encoded]


def _appended(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many special tokens the tokenizer puts after a text."""
    mask = tokenizer("a", return_special_tokens_mask=True, verbose=False)["special_tokens_mask"]
    return next((count for count, special in enumerate(reversed(mask)) if not special), 0)


def tokenize(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> TokenCorpus:
    """The first `max_tokens` ids of each text, with the special tokens that the tokenizer puts before it.

    Texts of fewer than two tokens are dropped: they predict nothing, and the first token is masked anyway.
    Raises SourceError where nothing is left.
    """
    # Not left to the tokenizer: its file may say that a text loses its beginning.
    cut = (tuple(ids[:max_tokens]) for ids in (_encoded(texts, tokenizer) if texts else ()))
    documents = tuple(ids for ids in cut if len(ids) > 1)
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
