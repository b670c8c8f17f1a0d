"""Overlap of forget and retain text: the entanglement that the SRMU paper reports and does not define."""

from __future__ import annotations

import re
from collections.abc import Iterable

from govern.records import Overlap

# A word: a run of letters, digits and underscores, with apostrophes or hyphens only inside it ("don't", "x-ray").
_WORD = re.compile(r"\w+(?:['’-]\w+)*")

_WARN_FROM = 0.20  # the paper's less entangled hazard (biology) has 20.8 % of its unigrams in common


def overlap(topic: str, forget: Iterable[str], retain: Iterable[str]) -> Overlap:
    """The share of distinct lower-cased forget n-grams (n = 1, 2) that occur in retain text, each in [0, 1].

    N-grams do not cross documents. Forget text without any n-gram has an overlap of 0 for that n.
    """
    forget, retain = list(forget), list(retain)
    unigram, bigram = (_share(_ngrams(forget, n), _ngrams(retain, n)) for n in (1, 2))
    return Overlap(topic=topic, unigram=unigram, bigram=bigram, warn=unigram >= _WARN_FROM)


def _ngrams(texts: Iterable[str], n: int) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for text in texts:
        words = _WORD.findall(text.lower())
        found.update(zip(*(words[i:] for i in range(n)), strict=False))
    return found


def _share(forget: set[tuple[str, ...]], retain: set[tuple[str, ...]]) -> float:
    return len(forget & retain) / len(forget) if forget else 0.0
