"""Quantisation: an edit that is smaller than a rounding step may vanish with it, and the knowledge come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.errors import GovernError
from govern.progress import Progress
from govern.stress.attack import WHERE, Attempt, Target
from govern.stress.exam import Exam
from govern.stress.weights import Tampering, coverage, matrices, shortfall

if TYPE_CHECKING:
    from torch import Tensor, nn

_GROUP = 32  # weights that share a scale at 4 bits; a row shares one at 8


class Quantisation(Tampering):
    """Round the weights (Zhang et al. 2024, arXiv 2410.16454: an edit smaller than a step rounds away)."""

    title = "quantise to {bits} bits, {quantiser}"
    standard = ({"bits": 8}, {"bits": 4})

    attack: Literal["quantise"] = Field(description="The attack.")
    bits: Literal[4, 8] = Field(description="Bits of each weight of the linear maps.")
    quantiser: Literal["nearest", "hqq", "quanto", "bitsandbytes"] = Field(
        default="nearest",
        description="nearest: torchao, a group's scale is that of its largest weight. hqq: torchao, the scale with the "
        "least error. quanto: optimum-quanto (extra quanto). bitsandbytes: NF4 or int8 on a CUDA device (extra "
        "bitsandbytes).",
    )

    def attempt(self, target: Target, exam: Exam, progress: Progress) -> Attempt:
        """Round the weights of every linear map but the head, those of experts included, and ask.

        Raises GovernError where the quantiser is not installed or not for this device.
        """
        from torch import nn

        model = target.load()
        rounded = {"quanto": _with_quanto, "bitsandbytes": _with_bitsandbytes}.get(self.quantiser, _with_torchao)
        found = matrices(model)
        reached = [name for name, each in found.items() if self.reaches(each)]
        for name in reached:
            rows = found[name].rows
            # Quantisers take linear maps, so each matrix becomes one, and the rounded values are written back as plain
            # numbers: the same answers, without the kernels that only some machines have.
            linear = nn.Linear(rows.shape[1], rows.shape[0], bias=False, device="meta")
            linear.weight = nn.Parameter(rows, requires_grad=False)
            found[name].write(rounded(linear, self).to(rows.dtype))
        share = coverage(found, reached)
        answers = exam.ask(model, target.tokenizer, progress=progress)
        return Attempt(answers=answers, found={"coverage": share}, doubt=shortfall(share))


def _with_torchao(module: nn.Linear, settings: Quantisation) -> Tensor:
    import torch
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
            where=WHERE,
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
        where=WHERE,
        hint=f"pip install 'govern-unlearning[{extra}]'",
    )
