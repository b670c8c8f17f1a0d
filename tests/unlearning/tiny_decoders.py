"""Tiny decoders with weights that a formula gives, so that every machine has the same ones."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel
from transformers.models.gemma2 import Gemma2Config
from transformers.models.gemma3 import Gemma3TextConfig
from transformers.models.gpt_neox import GPTNeoXConfig
from transformers.models.granite import GraniteConfig
from transformers.models.llama import LlamaConfig
from transformers.models.mistral import MistralConfig
from transformers.models.mixtral import MixtralConfig
from transformers.models.olmo import OlmoConfig
from transformers.models.olmo2 import Olmo2Config
from transformers.models.olmo3 import Olmo3Config
from transformers.models.opt import OPTConfig
from transformers.models.phi3 import Phi3Config
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen2_moe import Qwen2MoeConfig
from transformers.models.qwen3 import Qwen3Config
from transformers.models.qwen3_moe import Qwen3MoeConfig

from govern.corpora.tokens import TokenCorpus
from govern.unlearning.batches import generator

VOCABULARY = 97
LAYERS = 4

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = {**_SHAPE, "num_key_value_heads": 2}
_SLIDING = {**_GROUPED, "head_dim": 8, "sliding_window": 4}

CONFIGS = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "mistral": lambda: MistralConfig(**_SLIDING),
    "qwen2": lambda: Qwen2Config(**_GROUPED),
    "qwen3": lambda: Qwen3Config(**_SLIDING, use_sliding_window=True, max_window_layers=2),
    "gemma2": lambda: Gemma2Config(**_SLIDING),
    "gemma3": lambda: Gemma3TextConfig(**_SLIDING, sliding_window_pattern=2),
    "phi3": lambda: Phi3Config(**_GROUPED),
    "olmo": lambda: OlmoConfig(**_GROUPED),
    "olmo2": lambda: Olmo2Config(**_GROUPED),
    "olmo3": lambda: Olmo3Config(**_GROUPED, sliding_window=4),
    "gpt_neox": lambda: GPTNeoXConfig(**_SHAPE),
    "granite": lambda: GraniteConfig(**_GROUPED, residual_multiplier=0.5),
    "opt": lambda: OPTConfig(**_SHAPE, ffn_dim=48, word_embed_proj_dim=32),
    "qwen2_moe": lambda: Qwen2MoeConfig(
        **_GROUPED, moe_intermediate_size=16, shared_expert_intermediate_size=48, num_experts=4, num_experts_per_tok=2
    ),
    "mixtral": lambda: MixtralConfig(**_GROUPED, num_local_experts=2),
    "qwen3_moe": lambda: Qwen3MoeConfig(
        **_GROUPED, head_dim=8, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2
    ),
}


@torch.no_grad()
def formula_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Weights of about 0.1 that no random generator has to agree on; norms stay at their neutral value."""
    for place, parameter in enumerate(model.parameters()):
        if parameter.dim() > 1:
            count = torch.arange(parameter.numel(), dtype=torch.float64)
            values = torch.sin(count * 12.9898 + place * 78.233) * 43758.5453
            parameter.copy_(((values - values.floor()) - 0.5).mul(0.4).view_as(parameter))
    return model


def documents(name: str, *, count: int, shortest: int = 5, longest: int = 9) -> TokenCorpus:
    """Documents of random tokens that follow from a name."""
    random = generator(name)
    lengths = torch.randint(shortest, longest + 1, (count,), generator=random).tolist()
    return TokenCorpus(
        tuple((1, *torch.randint(3, VOCABULARY, (length - 1,), generator=random).tolist()) for length in lengths)
    )
