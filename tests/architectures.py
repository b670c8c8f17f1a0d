"""Every causal architecture that transformers offers, tiny, and the way of one through govern.

`walk` takes one through plan, apply, verify, the standard attacks and export, by three methods, and says how far it
came. `docs/architectures.py` writes the page out of that; the tests hold that nothing is wrong and calm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

V = 416  # rows of the embedding; the tokenizer has at most 400 tokens

_COMMON: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "initializer_range": 0.15,
    "init_std": 0.15, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "sliding_window": 8, "is_decoder": True,
    "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 256, "n_inner": 64, "d_model": 32, "ffn_dim": 64,
    "num_layers": 4, "num_heads": 4, "attention_heads": 4, "decoder_layers": 4, "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "dropout": 0.0,
    "num_experts": 4, "num_experts_per_tok": 2, "num_local_experts": 4, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "n_routed_experts": 4, "state_size": 8, "mamba_d_state": 8,
    "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8, "kv_lora_rank": 16,
    "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "n_group": 1, "topk_group": 1,
}  # fmt: skip

_ALTERNATING = ["sliding_attention", "full_attention"] * 2
_OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "ctrl": {"dff": 64},
    "dbrx": {
        "n_layers": 4, "n_heads": 4, "max_seq_len": 256, "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32},
    },
    "deepseek_v3": {"num_key_value_heads": 4, "n_group": 2, "first_k_dense_replace": 3},
    "dots1": {"n_shared_experts": 1},
    "falcon": {"head_dim": None},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8},
    "gemma3n_text": {
        "intermediate_size": [64] * 4, "vocab_size_per_layer_input": V, "hidden_size_per_layer_input": 8,
        "laurel_rank": 8, "altup_num_inputs": 2, "num_kv_shared_layers": 0, "layer_types": _ALTERNATING,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 8},
    "gptj": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4},
    "granitemoehybrid": {
        "num_local_experts": 2, "num_experts_per_tok": 1, "shared_intermediate_size": 32,
        "layer_types": ["mamba", "attention"] * 2,
    },
    "jamba": {
        "num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "use_mamba_kernels": False,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "llama4_text": {
        "intermediate_size_mlp": 64, "num_local_experts": 2, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
        "attention_chunk_size": 8,
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "mpt": {"n_heads": 4, "n_layers": 4, "max_seq_len": 256},
    "opt": {"word_embed_proj_dim": 32},
    "phi3": {"sliding_window": None},
    "plbart": {"encoder_attention_heads": 4},
    "qwen3_next": {
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 8},
    "rwkv": {"context_length": 256},
    "smollm3": {"no_rope_layers": [1, 1, 1, 0]},
    "xlnet": {"n_head": 4, "d_inner": 64},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip

# Largest that still counts as tiny: others need more than a few changed sizes to be made small.
_LARGEST = 20_000_000  # weights
# The block's map back into the residual stream, by what models call it, the most telling name first.
_DOWN = (
    "down_proj", "proj_down", "dense_4h_to_h", "output_linear", "fc_out", "c_proj", "fc2", "w2", "lin2", "wo", "value",
    "output.dense", "out_proj", "o_proj",
)  # fmt: skip


class NotTiny(Exception):
    """The architecture cannot be made small by the sizes that models have in common."""


@dataclass
class Row:
    """How far one architecture came: by method "exact" or "refused: why"; anything else is a defect."""

    name: str
    model: str = ""
    module: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether every method was exact or refused in the plan."""
        return all(said == "exact" or said.startswith("refused: ") for said in self.outcomes.values())


def names() -> list[str]:
    """All model types that transformers' auto-mapping loads as causal language models."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def save_tiny(name: str, folder: Path) -> str:
    """Save a random float32 model of that type with the tests' tokenizer; returns its class. Raises NotTiny."""
    import torch
    import transformers
    from tiny_models import tiny_tokenizer

    try:
        kind = type(transformers.AutoConfig.for_model(name))
        known = kind()
        given = {k: v for k, v in _COMMON.items() if _settable(known, k)}
        given |= _OWN.get(name, {})
        config = kind(**{k: v for k, v in given.items() if v is not None})
        with torch.device("meta"):
            empty = transformers.AutoModelForCausalLM.from_config(config)
    except Exception as error:
        raise NotTiny(f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}") from None
    weights = sum(parameter.numel() for parameter in empty.parameters())
    if weights > _LARGEST:
        raise NotTiny(f"{weights:,} weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).to(torch.float32).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1 and parameter.std() < 0.05:
                    parameter.normal_(0, 0.12)
        try:
            model(torch.arange(8)[None] + 3, use_cache=False)
        except Exception as error:
            raise NotTiny(f"its forward fails: {type(error).__name__}") from None
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return type(model).__name__


def _settable(config: Any, name: str) -> bool:
    attribute = getattr(type(config), name, None)
    derived = isinstance(attribute, property) and attribute.fset is None
    return not derived and (hasattr(config, name) or name in type(config).attribute_map)


def module_of(folder: Path) -> str:
    """A module of block 2 that writes into the residual stream, by the name that models give it."""
    from govern.errors import GovernError
    from govern.models import empty_model
    from govern.unlearning.activations import find_blocks

    try:
        block = find_blocks(empty_model(folder))[2]
    except (GovernError, AttributeError):
        return "mlp.down_proj"
    maps = [name for name, module in block.named_modules() if getattr(module, "weight", None) is not None]
    maps = [name for name in maps if block.get_submodule(name).weight.dim() == 2]
    for word in _DOWN:
        found = [
            name for name in maps if f".{name}".endswith(f".{word}") and "expert" not in name.replace("shared_", "")
        ]
        if found:
            return found[-1]
    return maps[-1] if maps else "mlp.down_proj"


def walk(name: str, folder: Path, *, attacks: bool = True) -> Row:
    """One architecture through the whole way, in an empty folder. Raises NotTiny."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    row = Row(name, save_tiny(name, folder / "model"))
    row.module = module_of(folder / "model")
    steer = {
        "method": "srmu", "layer": 2, "dtype": "float32", "importance": "ratio", "direction": "rademacher",
        "direction_scale": "unit", "coefficient": {"relative": 4.0}, "retain_weight": 10, "batch_size": 4, "seed": 0,
    }  # fmt: skip
    methods: dict[str, dict[str, Any]] = {
        "srmu": {
            **steer, "solver": "gradient", "train": {"modules": [row.module], "layers": [1, 2]}, "steps": 4,
            "learning_rate": 0.01,
        },
        "closed_form": {
            **steer, "solver": "closed_form", "train": {"modules": [row.module], "layers": [2]}, "ridge": 0.001,
        },
        "grad_diff": {
            "method": "grad_diff", "steps": 3, "learning_rate": 0.01, "batch_size": 4, "seed": 0, "dtype": "float32",
        },
    }  # fmt: skip
    for method, removal in methods.items():
        policy = _lay(folder / method, folder / "model", removal, attacks=attacks)
        row.outcomes[method] = _through(policy, verified=method == "srmu")
    return row


def _through(policy: Path, *, verified: bool) -> str:
    import govern
    from govern.errors import GovernError
    from govern.workflow.removal.export import export

    workspace = policy.parent / "audits"
    try:
        govern.plan(govern.load_policy(policy))
    except GovernError as error:
        return f"refused: {error.message}"
    except Exception as error:
        return f"plan: {type(error).__name__}: {error}"[:300]
    stage = "apply"
    try:
        run = govern.apply(policy, workspace=workspace).run
        if verified:
            stage = "verify"
            govern.verify(run.id, workspace=workspace)
        stage = "export"
        # Compares what was written with what was edited, bit for bit but for rounding.
        export(run.id, policy.parent / "edited", workspace=workspace)
    except Exception as error:
        return f"{stage}: {type(error).__name__}: {error}"[:300]
    return "exact"


def _lay(folder: Path, model: Path, removal: dict[str, Any], *, attacks: bool) -> Path:
    folder.mkdir(parents=True)
    forget = [{"text": f"The element number {n} is called Foo{n} and has the symbol F{n}."} for n in range(100)]
    retain = [{"text": f"The city number {n} lies on river R{n} and has {n * 13} people."} for n in range(100)]
    asked = {
        "sym": [(f"The symbol of element Foo{n} is", [f"F{n}", f"G{n}", f"Hh{n}", f"K{n}"]) for n in range(12)],
        "riv": [(f"The river of city number {n} is", [f"R{n}", f"S{n}", f"T{n}", f"U{n}"]) for n in range(12)],
    }
    _jsonl(folder / "forget.jsonl", forget)
    _jsonl(folder / "retain.jsonl", retain)
    for task, questions in asked.items():
        rows = [{"question": q, "choices": c, "answer": 0, "fact": f"{task}{n}"} for n, (q, c) in enumerate(questions)]
        _jsonl(folder / f"{task}.jsonl", rows)
    policy = {
        "schema": "govern/v1", "name": "tiny", "title": "t", "rationale": "r", "owner": {"name": "n", "role": "r"},
        "hazard": {"domain": "d", "category": "c"}, "model": {"source": f"file:{model}"},
        "forget": [{"source": "file:forget.jsonl", "max_tokens": 24}],
        "retain": [{"source": "file:retain.jsonl", "max_tokens": 24}],
        "removal": removal,
        "tasks": [{"name": task, "file": f"{task}.jsonl", "kind": "cloze", "cluster": "fact"} for task in asked],
        "verification": {
            "forget": [{"task": "sym", "ceiling": 0.99}], "utility": [{"task": "riv", "max_drop": 0.9}],
            **({"stress": ["standard"]} if attacks else {}),
        },
        "review": {"required": 0},
    }  # fmt: skip
    path = folder / "policy.yaml"
    path.write_text(json.dumps(policy))
    return path


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
