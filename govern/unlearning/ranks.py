"""The ranks of a removal: rank 0 hands out its request, and the other ranks compute it with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from govern.corpora import read_tokens, write_tokens
from govern.unlearning.protocol import RemovalRequest, Topic
from govern.unlearning.registry import method_named
from govern.unlearning.workers import Workers


def hand_out(request: RemovalRequest[Any]) -> None:
    """On rank 0: send the request to the other ranks. They read the model and the checkpoint from the same paths."""
    if request.workers.size == 1:
        return
    corpora = [write_tokens(corpus) for topic in request.topics for corpus in (topic.forget, topic.retain)]
    note = {
        "model_path": str(request.model_path.absolute()),
        "topics": [topic.name for topic in request.topics],
        "method": request.settings.method,
        "settings": request.settings.model_dump(mode="json"),
        "device": request.device,
        "trust_remote_code": request.trust_remote_code,
        "checkpoint": None if request.checkpoint is None else str(request.checkpoint.absolute()),
        "edited": None if request.edited is None else str(request.edited.absolute()),
    }
    for message in (json.dumps(note).encode(), *corpora):
        request.workers.broadcast(message)


def follow(workers: Workers) -> None:
    """On the other ranks: receive rank 0's request, compute with it, and drop the result, which is the same as its own.

    Raises as the method does.
    """
    note = json.loads(workers.broadcast(None))
    corpora = [read_tokens(workers.broadcast(None)) for _ in range(2 * len(note["topics"]))]
    method = method_named(note["method"])
    method.edit(
        RemovalRequest(
            model_path=Path(note["model_path"]),
            topics=tuple(map(Topic, note["topics"], corpora[::2], corpora[1::2])),
            settings=method.settings(note["settings"]),
            device=note["device"],
            trust_remote_code=note["trust_remote_code"],
            checkpoint=Path(note["checkpoint"]) if note["checkpoint"] else None,
            workers=workers,
            edited=Path(note["edited"]) if note["edited"] else None,
        )
    )
