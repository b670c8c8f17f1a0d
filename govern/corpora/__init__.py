"""Texts as tokens, their overlap, and text sampled from the model itself. Importing this loads no torch."""

from govern.corpora.entanglement import overlap
from govern.corpora.exchanges import Exchange, exchange, put
from govern.corpora.fingerprints import find_subjects, make_fingerprints
from govern.corpora.sampling import sample_from_model
from govern.corpora.tokenizing import encode, encode_choices, read_tokens, tokenize, write_tokens
from govern.corpora.tokens import TokenCorpus

__all__ = [
    "Exchange",
    "TokenCorpus",
    "encode",
    "encode_choices",
    "exchange",
    "find_subjects",
    "make_fingerprints",
    "overlap",
    "put",
    "read_tokens",
    "sample_from_model",
    "tokenize",
    "write_tokens",
]
