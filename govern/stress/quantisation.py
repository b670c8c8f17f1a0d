"""Quantisation: an edit that is smaller than a rounding step may vanish with it, and the knowledge come back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from govern.errors import GovernError
from govern.progress import Progress
from govern.stress.exam import Exam
from govern.stress.protocol import Attempt, Target
from govern.stress.settings import Quantisation

_GROUP = 32  # weights that share a scale at 4 bits; a row shares one at 8


def quantise(settings: Quantisation, target: Target, exam: Exam, progress: Progress) -> Attempt:
    """Round the weights of every linear map but the head, and ask.

    Raises GovernError where the quantiser is not installed or not for this device.
    """
    model = target.load()
    rounded = {"quanto": _with_quanto, "bitsandbytes": _with_bitsandbytes}.get(settings.quantiser, _with_torchao)
    for module in linear_maps(model).values():
        # The rounded values as plain numbers: the same answers, without the kernels that only some machines have.
        module.weight = nn.Parameter(rounded(module, settings).to(module.weight.dtype), requires_grad=False)
    return Attempt(answers=exam.ask(model, target.tokenizer, progress=progress))


def linear_maps(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear maps that quantisers round: all but the head, which often is the embedding as well."""
    head = model.get_output_embeddings()
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    }


def _with_torchao(module: nn.Linear, settings: Quantisation) -> Tensor:
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
    values: Tensor = module.weight.dequantize()
    return values


def _with_quanto(module: nn.Linear, settings: Quantisation) -> Tensor:
    try:
        from optimum.quanto import QLinear, qint4, qint8
    except ImportError:
        raise _missing("quanto", "optimum-quanto") from None
    quantised = QLinear.from_module(module, weights=qint8 if settings.bits == 8 else qint4)
    quantised.freeze()
    values: Tensor = quantised.weight.dequantize()
    return values.detach()


def _with_bitsandbytes(module: nn.Linear, settings: Quantisation) -> Tensor:
    weight = module.weight.detach()
    if weight.device.type != "cuda":
        raise GovernError(
            "bitsandbytes rounds on a CUDA device, and this is not one",
            where="verification.stress",
            hint="Use `quantiser: nearest`, `hqq` or `quanto` here.",
        )
    try:
        from bitsandbytes import functional
    except ImportError:
        raise _missing("bitsandbytes", "bitsandbytes") from None
    if settings.bits == 8:
        codes, scales, _ = functional.int8_vectorwise_quant(weight.half())
        values: Tensor = functional.int8_vectorwise_dequant(codes, scales)
        return values
    packed, state = functional.quantize_4bit(weight, quant_type="nf4")
    unpacked: Tensor = functional.dequantize_4bit(packed, state)
    return unpacked


def _missing(extra: str, package: str) -> GovernError:
    return GovernError(
        f"{package} is not installed",
        where="verification.stress",
        hint=f"pip install 'govern-unlearning[{extra}]'",
    )
