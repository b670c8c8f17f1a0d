"""From a GGUF file to a normal model folder: `python -m govern.sources.conversion GGUF OUT`.

A process of its own, so that its bars, its advice and the gigabyte it needs are gone when it ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert_gguf(gguf: Path, out: Path) -> None:
    """Write config, tokenizer and bfloat16 safetensors of a GGUF model to `out`.

    bfloat16 is the type that such checkpoints are published in and carries all the precision of 4-bit blocks.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    if any(parameter.dtype != torch.bfloat16 for parameter in model.parameters()):
        raise ValueError("transformers left some weights packed")
    # The weights are plain by now, but save_pretrained refuses a model that still remembers how they were packed.
    for holder, memory in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(holder, memory):
            delattr(holder, memory)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    _drop_build_details(out / "config.json")


def _drop_build_details(config: Path) -> None:
    """Take out what says who wrote the file and not what the model is, since the model's digest covers it."""
    fields = json.loads(config.read_bytes())
    for name in ("_model_name_or_path", "transformers_version"):
        fields.pop(name, None)
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    convert_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
