"""What a plan says of its texts: measured as they are cut, and held against what the model can read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_policy import FORGET, RETAIN, TinyPolicy, write_jsonl

import govern
from govern.errors import PolicyError
from govern.records import Plan


def plan_of(policy: TinyPolicy) -> Plan:
    return govern.plan(govern.load_policy(policy.path)).plan


def test_the_overlap_is_that_of_what_is_trained_on(tiny_policy: TinyPolicy) -> None:
    """The tail that they share lies behind what `max_tokens: 24` leaves."""
    before = plan_of(tiny_policy).overlap
    tail = " ".join(f"shared{n}" for n in range(60))
    folder = tiny_policy.path.parent
    write_jsonl(folder / "forget.jsonl", [{"text": f"{text} {text} {tail}"} for text in FORGET])
    write_jsonl(folder / "retain.jsonl", [{"text": f"{text} {text} {tail}"} for text in RETAIN])
    after = plan_of(tiny_policy).overlap
    assert abs(after[0].unigram - before[0].unigram) < 0.05
    tiny_policy.replace("max_tokens: 24", "max_tokens: 900")
    assert plan_of(tiny_policy).overlap[0].unigram > 0.5


def shorter(policy: TinyPolicy, tmp_path: Path, positions: int) -> None:
    """Give the policy a copy of its model that was made for so many positions."""
    source = policy.path.read_text().partition('model: {source: "file:')[2].partition('"')[0]
    shutil.copytree(source, tmp_path / "short")
    config = json.loads((tmp_path / "short" / "config.json").read_bytes())
    (tmp_path / "short" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": positions}))
    policy.replace(f"file:{source}", f"file:{tmp_path / 'short'}")


def test_documents_beyond_the_context_are_refused_above_a_share(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    shorter(tiny_policy, tmp_path, 20)
    with pytest.raises(PolicyError, match=r"12 of 12 documents of file:forget\.jsonl are longer") as refused:
        plan_of(tiny_policy)
    assert refused.value.where.startswith(f"{tiny_policy.path}:")
    assert "Set `max_tokens` to 20" in refused.value.hint


def test_few_documents_beyond_the_context_are_counted(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    shorter(tiny_policy, tmp_path, 20)
    folder = tiny_policy.path.parent
    write_jsonl(folder / "forget.jsonl", [{"text": f"Vault {n}"} for n in range(150)] + [{"text": FORGET[0]}])
    write_jsonl(folder / "retain.jsonl", [{"text": f"Train {n}"} for n in range(150)])
    for kind in ("secret", "colour"):
        short = [{"question": f"{n} is", "choices": ["a", "b", "c", "d"], "answer": n % 4} for n in range(24)]
        write_jsonl(folder / f"{kind}.jsonl", [{**each, "fact": f"{n // 2}"} for n, each in enumerate(short)])
    said = [warning for warning in plan_of(tiny_policy).warnings if "longer" in warning]
    assert said == [
        "1 of 151 documents of file:forget.jsonl are longer than the model's context of 20 tokens, "
        "which it was not made for"
    ]


def test_a_token_without_embedding_is_named_by_its_document(tiny_policy: TinyPolicy, tmp_path: Path) -> None:
    """As Gemma 3's text models have it: the tokenizer knows a token for images, the model has no row for it."""
    shorter(tiny_policy, tmp_path, 1024)
    path = tmp_path / "short" / "tokenizer.json"
    fields = json.loads(path.read_bytes())
    beyond = len(fields["model"]["vocab"]) + 5
    fields["added_tokens"].append(
        {"id": beyond, "content": "<image>", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
    )  # fmt: skip
    path.write_text(json.dumps(fields))
    plan_of(tiny_policy)
    write_jsonl(tiny_policy.path.parent / "retain.jsonl", [{"text": "fine"}, {"text": "see <image> here"}])
    with pytest.raises(PolicyError, match=r"document 2 of file:retain\.jsonl holds the token \d+"):
        plan_of(tiny_policy)
