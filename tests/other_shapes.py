"""Tiny models of architectures that store or end in another way than Llama: two blocks, 32 wide, random."""

from __future__ import annotations

import torch
import transformers

_COMMON = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_WIDE = {"hidden_size": 32, "num_attention_heads": 4, **_COMMON}
_LIKE_LLAMA = {**_WIDE, "intermediate_size": 48, "num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 8}
_LIKE_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, **_COMMON}

SETTINGS = {
    "gpt2": _LIKE_GPT2,
    "codegen": {**_LIKE_GPT2, "rotary_dim": 4},
    "falcon": {**_WIDE, "num_hidden_layers": 2},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, **_COMMON},
    "phi": {**_WIDE, "intermediate_size": 48, "num_hidden_layers": 2},
    # as OPT-350m: no norm at the end, and a projection to a narrower embedding
    "opt": {**_WIDE, "ffn_dim": 48, "num_hidden_layers": 2, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    "granite": {**_LIKE_LLAMA, "residual_multiplier": 0.5, "logits_scaling": 4.0},
    "mixtral": {**_LIKE_LLAMA, "num_local_experts": 4},
    "qwen3_moe": {**_LIKE_LLAMA, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {**_LIKE_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2},
    "jamba": {
        **{name: value for name, value in _LIKE_LLAMA.items() if name != "head_dim"},
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 4,
        "use_mamba_kernels": False,
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, **_COMMON},
}


def make(kind: str, vocabulary: int) -> transformers.PreTrainedModel:
    """Always the same model."""
    config = transformers.AutoConfig.for_model(kind, vocab_size=vocabulary, **SETTINGS[kind])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).float().eval()
