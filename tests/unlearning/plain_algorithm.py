"""The published algorithms as plainly as they can be written: two whole models, whole forwards, a hook on block ℓ.

It shares with the engine only what depends on the seed: the order of the batches and the generator of the direction.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM

from govern.unlearning.batches import Deck, generator


def transcription(path, topics, settings, target_of):
    """The losses of each step, and the trained weights at the end.

    `target_of(settings, v_f, v_r, first, random)` gives T from the means of |h| over each side's visited batches, the
    frozen h of the first forget batch ([tokens, d]), and the topic's generator.
    """
    edited, frozen = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for _ in range(2))

    def h(model, batch):
        kept = []
        handle = model.model.layers[settings.layer].register_forward_hook(lambda _m, _i, output: kept.append(output))
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        handle.remove()
        return kept[0][batch.counted]

    prepared = []
    for turn, topic in enumerate(topics):
        seed = f"{settings.seed}/{topic.name}"
        decks = [
            Deck.deal(corpus, batch_size=settings.batch_size, mask=settings.mask, seed=f"{seed}/{role}")
            for role, corpus in (("forget", topic.forget), ("retain", topic.retain))
        ]
        visits = range(len(range(turn, settings.steps, len(topics))))
        with torch.no_grad():
            rows = [
                [h(frozen, deck.batch(number)) for number in dict.fromkeys(map(deck.visit, visits))] for deck in decks
            ]
        v_f, v_r = (torch.cat(side).abs().mean(0) for side in rows)
        random = generator(f"{seed}/direction")
        prepared.append((decks, target_of(settings, v_f, v_r, rows[0][0], random)))

    down = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in settings.train.layers]
    weights = {name: parameter for name, parameter in edited.named_parameters() if name in down}
    optimizer = torch.optim.AdamW(weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    losses = []
    for step in range(settings.steps):
        visit, turn = divmod(step, len(topics))
        (forget, retain), target = prepared[turn]
        x_f, x_r = (deck.batch(deck.visit(visit)) for deck in (forget, retain))
        with torch.no_grad():
            original = h(frozen, x_r)
        forget_loss = ((h(edited, x_f) - target) ** 2).mean()
        retain_loss = ((h(edited, x_r) - original) ** 2).mean()
        optimizer.zero_grad()
        (forget_loss + settings.retain_weight * retain_loss).backward()
        optimizer.step()
        losses.append((forget_loss.item(), retain_loss.item()))
    return losses, {name: parameter.detach() for name, parameter in weights.items()}
