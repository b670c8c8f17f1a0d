"""Random models of a few thousand weights with a real tokenizer, for tests that need no knowledge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

Kind = Literal["llama", "mistral", "qwen2", "gemma2", "gemma3"]

_TEXT = """The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs.
Iron has the symbol Fe and gold has the symbol Au. The capital of France is Paris; the capital of Japan is Tokyo.
Question: which of these is true? Answer: A, B, C or D. Numbers such as 0 1 2 3 4 5 6 7 8 9 are written in digits.
"""


def save_tiny_model(kind: Kind, path: Path, *, shards: bool = False) -> Path:
    """Save a random bfloat16 model of four blocks and hidden size 32, always the same one, with its tokenizer.

    Llama, Mistral and Qwen2 have a head of their own, the Gemmas tie it to the embedding. `shards` splits the weights
    over several files with an index.
    """
    import torch
    import transformers

    classes = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "gemma2": (transformers.Gemma2Config, transformers.Gemma2ForCausalLM),
        "gemma3": (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM),
    }
    make_config, make_model = classes[kind]
    tokenizer = tiny_tokenizer()
    config = make_config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        initializer_range=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make_model(config).to(torch.bfloat16)
    model.save_pretrained(path, max_shard_size="20KB" if shards else "1GB")
    tokenizer.save_pretrained(path)
    return path


def tiny_tokenizer():
    """Byte-level BPE of at most 400 tokens, able to write any text; it puts `<s>` in front by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=1024
    )


def putting(template: str, **changes):
    """The tiny tokenizer with another template of special tokens."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(json.dumps(json.loads(tiny_tokenizer().backend_tokenizer.to_str())))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, pair=f"{template} $B", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "model_max_length": 1024} | changes
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{k: v for k, v in named.items() if v is not None})


def merging():
    """A tokenizer in which `Answer: A` ends in one token over the seam, and `Answer: C` does not."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["Answer: A", "Answer: B", "B. x Answer: A", "The symbol is Fe"] * 50, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=1024
    )
