"""Token corpora: documents as token ids, already cut to their length."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True)
class TokenCorpus:
    """Documents as token ids, not padded; the first id is the BOS token where the tokenizer adds one."""

    documents: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """How many tokens the corpus holds."""
        return sum(map(len, self.documents))

    @property
    def digest(self) -> str:
        """SHA-256 over the ids, each document preceded by its length, as little-endian 32-bit integers."""
        digest = sha256()
        for document in self.documents:
            digest.update(struct.pack(f"<{len(document) + 1}I", len(document), *document))
        return digest.hexdigest()
