"""Models and tokenizers from a folder on this machine. Torch and transformers load inside the functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import GovernError, IntegrityError, SourceError
from govern.sources.model_files import only_model_files
from govern.sources.quiet import quiet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from govern.models.names import Names


SPREAD = "auto"
"""The device of a model that is spread over all GPUs."""


_RUNS = ("a", " ", "1", ".", "\n", "é")


def load_config(path: Path, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """A model's config. Raises SourceError where transformers does not know its kind."""
    from transformers import AutoConfig

    with _reading(path, trust_remote_code) as read:
        config: PreTrainedConfig = read(AutoConfig.from_pretrained)
    return config


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """A model's tokenizer. Raises SourceError where the folder holds none."""
    from transformers import AutoTokenizer

    with _reading(path, trust_remote_code) as read:
        tokenizer: PreTrainedTokenizerBase = read(AutoTokenizer.from_pretrained)
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest > 0:
        raise SourceError("`model_max_length` is no length", where=str(path / "tokenizer_config.json"))
    with _panics(path):
        # What a stranger's pattern would never finish fails here, and not in the middle of a run.
        tokenizer([f"{each * 64}!" for each in _RUNS])
    return tokenizer


def empty_model(path: Path, *, layers: int | None = None, trust_remote_code: bool = False) -> PreTrainedModel:
    """The model that the config describes, its parameters without memory: names and shapes alone.

    `layers` is as in `load_model`. Raises SourceError where transformers cannot build it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with _reading(path, trust_remote_code) as read:
        config = read(AutoConfig.from_pretrained)
        if layers is not None:
            keep_first_layers(config, layers, path)
        with torch.device("meta"):
            model: PreTrainedModel = read(AutoModelForCausalLM.from_config, config=config)
    return model


def load_model(
    path: Path,
    *,
    dtype: torch.dtype,
    layers: int | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A causal language model in evaluation mode, its parameters named as in the checkpoint.

    With `layers`, only the first so many decoder blocks are built and only their tensors (with the embedding, the
    last norm and the head) are read: what is above the block that a method steers need not exist. The device `auto`
    spreads the blocks over all GPUs (accelerate's `device_map`); inputs go to the model's own `device`.

    Raises SourceError where the folder is no model that transformers knows, `layers` is out of range or the GPUs'
    memory is too small, IntegrityError where the checkpoint lacks weights, which would otherwise be random.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from govern.models.names import names_of
    from govern.models.products import lacks_bfloat16, widen_products

    with _reading(path, trust_remote_code) as read:
        config = read(AutoConfig.from_pretrained)
        if layers is not None:
            keep_first_layers(config, layers, path)
        model, report = read(
            AutoModelForCausalLM.from_pretrained,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **({"device_map": "auto"} if device == SPREAD else {}),
        )
    if report["missing_keys"]:
        raise IntegrityError(
            f"the checkpoint lacks {len(report['missing_keys'])} weights, {min(report['missing_keys'])} among them",
            where=str(path),
            hint="Fetch the model again.",
        )
    if device == SPREAD:
        refuse_offloaded(model, path)
    keep_apart(model, names_of(model, path))
    refuse_non_finite(model, path)
    loaded: PreTrainedModel = model.eval() if device == SPREAD else model.to(device).eval()
    if loaded.device.type == "cpu" and dtype == torch.bfloat16 and lacks_bfloat16():
        widen_products(loaded)
    return loaded


def refuse_offloaded(model: torch.nn.Module, path: Path) -> None:
    """Raise SourceError where a weight has no place in memory: an edit of it would be lost without a word."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise SourceError(
            "the model does not fit into the memory of the devices",
            where=str(path),
            hint="Use more or larger GPUs, or --device cpu.",
        )


def refuse_non_finite(model: torch.nn.Module, path: Path) -> None:
    """Raise IntegrityError, naming the weight, where one holds NaN or infinity: every figure would rest on it."""
    import torch

    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.numel():
            low, high = torch.aminmax(parameter.detach())
            if not (low.isfinite() and high.isfinite()):
                raise IntegrityError(
                    f"{name} holds values that are not finite numbers", where=str(path), hint="Fetch the model again."
                )


def keep_first_layers(config: PreTrainedConfig, layers: int, path: Path) -> None:
    """Shorten a config to its first decoder blocks, with every list that has one entry a block (`layer_types`, …)."""
    text = config.get_text_config(decoder=True)
    total = text.num_hidden_layers
    if not 1 <= layers <= total:
        raise SourceError(f"the model has {total} layers, {layers} were asked for", where=str(path))
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == total:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers


def keep_apart(model: PreTrainedModel, names: Names) -> None:
    """Leave weights that the config ties, and the checkpoint stores with different values, weights of their own.

    Whoever ties a loaded model again (lm-eval does) would change what it says, and so would a type in which the two
    happen to be equal.
    """
    import torch

    if not names.apart:
        return
    seen: set[int] = set()
    for name in names.apart:
        parameter = model.get_parameter(name)
        if id(parameter) in seen:
            place, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(place), leaf, torch.nn.Parameter(parameter.detach().clone()))
        seen.add(id(parameter))
    for config in (model.config, model.config.get_text_config(decoder=True)):
        config.tie_word_embeddings = False


@contextmanager
def _panics(path: Path) -> Iterator[None]:
    """What the tokenizers library cannot go on from is no Exception in Python."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise SourceError(
                f"the tokenizer cannot cut text: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                where=str(path),
                hint="Check that the folder is whole and that this version of transformers knows the tokenizer.",
            ) from None
        raise


@contextmanager
def _reading(path: Path, trust_remote_code: bool) -> Iterator[Callable[..., Any]]:
    """Call functions of transformers on the model's files alone, those of its digest, with errors in our words."""
    with only_model_files(path) as shown:

        def read(function: Callable[..., Any], **arguments: Any) -> Any:
            given = () if function.__name__ == "from_config" else (shown,)
            if given:
                arguments["local_files_only"] = True
            try:
                # Silence is safe: what loading reports, missing weights, is checked above; unused ones are intended.
                with quiet():
                    return function(*given, trust_remote_code=trust_remote_code, **arguments)
            except GovernError:
                raise
            except Exception as error:
                raise _refusal(path, error, trust_remote_code) from None

        yield read


def _refusal(path: Path, error: Exception, trust_remote_code: bool) -> SourceError:
    said = str(error).strip()
    if not trust_remote_code and "trust_remote_code" in said:
        return SourceError(
            "the model comes with code of its own, which does not run unless a policy allows it",
            where=str(path),
            hint="Read the code; if you trust it, set `trust_remote_code: true` under `model`. The report says so.",
        )
    reason = said.splitlines()[0] if said else type(error).__name__
    if not isinstance(error, OSError | ValueError | ImportError):
        reason = f"{type(error).__name__}: {reason}"
    return SourceError(
        f"transformers cannot load it: {reason}",
        where=str(path),
        hint="Check that the folder is whole and that this version of transformers knows the model.",
    )
