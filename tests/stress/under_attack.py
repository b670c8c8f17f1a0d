"""One attack on both models, and the decision on it, as the workflow makes it."""

from __future__ import annotations

import copy

import torch
from made_up_facts import sentences

from govern.corpora import tokenize
from govern.gates.max_recovery import recovery
from govern.stress.attack import Target

UNRELATED = [
    f"{who} {what}."
    for who in ("The weather", "A train", "My aunt", "The river", "Nobody", "An old clock", "Her brother", "This bird")
    for what in ("was late", "came to town", "turned left", "had a hat on", "ran far", "grew up", "lost it", "rang")
]


def silent(*_, **__):
    pass


def delta_of(base, edited):
    before = dict(base.named_parameters(remove_duplicate=False))
    return {
        name: value.detach().clone()
        for name, value in edited.named_parameters(remove_duplicate=False)
        if not torch.equal(value, before[name])
    }


def target_of(model, tokenizer, base=None, edited=None):
    text = tokenize(sentences(), tokenizer, max_tokens=64)
    plain = tokenize(UNRELATED, tokenizer, max_tokens=64)
    base, edited = base or model, edited or model
    return Target(
        lambda: copy.deepcopy(model),
        tokenizer,
        unrelated=plain,
        related=text,
        base=lambda: copy.deepcopy(base),
        delta=delta_of(base, edited),
    )


def recovered(attack, base, edited, exam, tokenizer, **options):
    plain = [exam.ask(model, tokenizer) for model in (base, edited)]
    control, attacked = (
        attack.attempt(target_of(model, tokenizer, base, edited), exam, silent) for model in (base, edited)
    )
    return recovery(
        *plain, control.answers, attacked.answers, attack=attack.attack, name="x", parameters={}, confidence=0.95,
        seconds=0.0, found={"base": control.found, "edited": attacked.found}, doubt=control.doubt,
        **{"max_recovery": 0.5, **options},
    )  # fmt: skip
