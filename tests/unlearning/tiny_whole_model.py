"""The whole-model methods on a tiny decoder: settings that are quick, and a session to look into."""

from __future__ import annotations

from tiny_decoders import documents
from tiny_removal import request

from govern.unlearning.protocol import Topic
from govern.unlearning.whole_model.loop import Session
from govern.unlearning.whole_model.terms import Turn

SHARED = {"dtype": "float32", "batch_size": 3, "seed": 3}
TRAINED = {**SHARED, "steps": 4, "learning_rate": 1e-3}
METHODS = {
    "ga": TRAINED,
    "grad_diff": TRAINED,
    "npo": TRAINED,
    "simnpo": TRAINED,
    "undial": TRAINED,
    "rklu": {**TRAINED, "strengthening_steps": 3},
    "llmu": {**TRAINED, "random_answers": 2},
    "scrub": {**TRAINED, "match_weight": 0.1},
    "task_arithmetic": TRAINED,
    "quark": {**TRAINED, "explore_every": 2},
    "ssd": {**SHARED, "threshold": 1.0},
    "depn": {**SHARED, "neurons": 5, "points": 4, "train": {"layers": [1, 2]}},
}
TOPIC = (Topic("bio", documents("bio forget", count=10), documents("bio retain", count=8)),)
TOPICS = (*TOPIC, Topic("cyber", documents("cyber forget", count=6), documents("cyber retain", count=7)))


def asked(path, method, *, topics=TOPIC, checkpoint=None, progress=None, **changes):
    base = {"method": method, **METHODS[method]}
    return request(path, base, topics=topics, checkpoint=checkpoint, progress=progress, **changes)


def opened(path, method, **changes):
    """A session, the first turn in it, and the settings."""
    wanted = asked(path, method, **changes)
    session = Session.open(wanted)
    return session, Turn(session.topics[0], 0), wanted.settings
