"""Quantisation: an edit that is smaller than a rounding step may vanish with it, and the knowledge come back."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from govern.evaluation.answers import Answers
from govern.progress import Progress
from govern.stress.exam import Exam
from govern.stress.protocol import Target
from govern.stress.settings import Quantisation

_GROUP = 32  # weights that share a scale at 4 bits; a row shares one at 8


def quantise(settings: Quantisation, target: Target, exam: Exam, progress: Progress) -> Answers:
    """Round the weights of every linear map but the head, and ask."""
    model = target.load()
    for module in linear_maps(model).values():
        _round(module, settings)
    return exam.ask(model, target.tokenizer, progress=progress)


def linear_maps(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear maps that quantisers round: all but the head, which often is the embedding as well."""
    head = model.get_output_embeddings()
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    }


def _round(module: nn.Linear, settings: Quantisation) -> None:
    from torchao.quantization import IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup
    from torchao.quantization.quantize_.workflows import IntxChooseQParamsAlgorithm

    shared = PerAxis(0) if settings.bits == 8 or module.in_features % _GROUP else PerGroup(_GROUP)
    algorithms = {
        "nearest": IntxChooseQParamsAlgorithm.AFFINE,
        "hqq": IntxChooseQParamsAlgorithm.HQQ_SCALE_ONLY,
    }
    config = IntxWeightOnlyConfig(
        weight_dtype=vars(torch)[f"int{settings.bits}"],
        granularity=shared,
        intx_choose_qparams_algorithm=algorithms[settings.quantiser],
    )
    quantize_(module, config, filter_fn=lambda inner, _: inner is module)
    # The rounded values as plain numbers: the same answers, without the kernels that only some machines have.
    module.weight = nn.Parameter(module.weight.dequantize(), requires_grad=False)
