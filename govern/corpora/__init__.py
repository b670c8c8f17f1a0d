"""Texts as tokens, their overlap, and text sampled from the model itself. Importing this loads no torch."""

from govern.corpora.entanglement import overlap
from govern.corpora.fingerprints import find_subjects, make_fingerprints
from govern.corpora.sampling import sample_from_model
from govern.corpora.tokenizing import read_tokens, tokenize, write_tokens
from govern.corpora.tokens import TokenCorpus

__all__ = [
    "TokenCorpus",
    "find_subjects",
    "make_fingerprints",
    "overlap",
    "read_tokens",
    "sample_from_model",
    "tokenize",
    "write_tokens",
]
