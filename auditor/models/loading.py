"""A local subject's files -> a plain transformers module and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import SubjectError
from auditor.models.module_map import spread_map
from auditor.models.placement import (
    Placement,
    made_folder,
    placed_modules,
    placement_of,
    why_unusable,
)
from auditor.models.quiet import quiet
from auditor.models.source import Source, locate
from auditor.models.specifier import Specifier, parse
from auditor.models.subject_files import subject_errors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}
AUTO_DEVICE = "auto"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A causal language model as `transformers` has it, in evaluation mode, not quantised."""

    module: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    source: Source
    placement: dict[str, str] | None = None
    """The device of each module, where it was spread; ``disk`` for what lies in files."""


def load_transformers(
    spec: str | Specifier,
    *,
    device: str | None = None,
    dtype: str | None = None,
    spread: bool = False,
) -> Loaded:
    """Return the module and the tokenizer of a local subject; `save_pretrained` accepts both.

    A GGUF file is dequantised. Nothing is cached on disk; no code of the subject's own is run.
    Devices and types as `auditor.models.open_model`; a specifier's own ``device_map`` goes before
    `device`. Without `spread` one is refused: the weights are to be read or changed in place.

    Raises:
        SubjectError: it cannot be found or read, lacks tensors that its config asks for, or is
            no causal language model.
        MissingExtraError: the package that carries or reads it is not installed.
    """
    specifier = parse(spec) if isinstance(spec, str) else spec
    asked = placement_of(specifier.options)
    if asked is not None and not spread:
        raise SubjectError(
            f"{specifier.planned}: device_map is for models that are audited",
            hint="leave device_map out here",
        )
    source = locate(specifier)
    where = device or _default_device()
    kind = torch_dtype(dtype, where) if asked is None else _spread_type(dtype, asked)
    if source.is_gguf:
        from auditor.models.gguf import load_gguf

        module, tokenizer = load_gguf(source.path, kind)
        placed = _on(module, _checked_device(where))
    else:
        tokenizer = load_tokenizer(source)
        placed = _load_folder(source.path, where, kind, asked)
    placed.eval()
    recorded = placed_modules(placed) if asked is not None or where == AUTO_DEVICE else None
    return Loaded(module=placed, tokenizer=tokenizer, source=source, placement=recorded)


def load_tokenizer(source: Source) -> "PreTrainedTokenizerFast":
    """Return the fast tokenizer of a source; no weights are read.

    Raises:
        SubjectError: it is missing, corrupt, or has no fast form.
    """
    if source.is_gguf:
        from auditor.models.gguf import gguf_tokenizer

        return gguf_tokenizer(source.path)
    from transformers import AutoTokenizer

    with quiet(), subject_errors(f"the tokenizer of {source.path}"):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(source.path), local_files_only=True, trust_remote_code=False
        )
    if not getattr(tokenizer, "is_fast", False):
        raise SubjectError(
            f"the tokenizer of {source.path} has no fast form (tokenizer.json)",
            hint="convert it with transformers: AutoTokenizer.from_pretrained(..., use_fast=True)",
        )
    return tokenizer


def check_architecture(source: Source) -> None:
    """Refuse a folder whose config names no causal language model; no weights are read.

    Of a GGUF file only loading can tell.

    Raises:
        SubjectError: transformers does not know the architecture, or it is of another kind.
    """
    if source.is_gguf:
        return
    import transformers

    with quiet(), subject_errors(f"the config of {source.path}"):
        config = transformers.AutoConfig.from_pretrained(
            str(source.path), local_files_only=True, trust_remote_code=False
        )
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise SubjectError(
            f"{source.path} is of type {config.model_type}, which is no causal language model",
            hint="give a model that generates text",
        )


def torch_dtype(dtype: str | None, device: str) -> "torch.dtype":
    """Return the torch type of a name; None means bfloat16 on a GPU and float32 on a CPU.

    Raises:
        SubjectError: the name is unknown.
    """
    import torch

    if dtype is None:
        gpu = torch.cuda.is_available() if device == AUTO_DEVICE else not device.startswith("cpu")
        return torch.bfloat16 if gpu else torch.float32
    if dtype not in _DTYPES:
        raise SubjectError(
            f"unknown type {dtype!r}", hint="give float32, bfloat16 or float16 (or leave it out)"
        )
    found: torch.dtype = getattr(torch, _DTYPES[dtype])
    return found


def _spread_type(dtype: str | None, placement: Placement) -> "torch.dtype":
    return torch_dtype(dtype, "cuda" if placement.uses_gpu else "cpu")


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _checked_device(device: str) -> str:
    if device == AUTO_DEVICE:
        return _default_device()
    reason = why_unusable(device)
    if reason is not None:
        raise SubjectError(
            f"device {device!r} cannot be used: {reason}", hint="give cpu, cuda or auto"
        )
    return device


def _load_folder(
    folder: Path, device: str, dtype: "torch.dtype", asked: Placement | None
) -> "PreTrainedModel":
    import transformers

    if asked is None and device == AUTO_DEVICE and _gpus():
        asked = Placement(device_map=AUTO_DEVICE)
    target = _checked_device(device) if asked is None else None
    placement = {} if asked is None else _arguments(folder, asked)
    with quiet(), subject_errors(f"the model in {folder}"):
        models: Any = transformers.AutoModelForCausalLM
        module, info = models.from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **placement,
        )
    _refuse_incomplete(folder, info)
    return module if target is None else _on(module, target)


def _arguments(folder: Path, placement: Placement) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that spread a model."""
    import torch
    import transformers

    automatic: Any = transformers
    with quiet(), subject_errors(f"the config of {folder}"), torch.device("meta"):
        config = automatic.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        shape = automatic.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return {
        "device_map": spread_map(shape, placement),
        "max_memory": placement.max_memory,
        "offload_folder": made_folder(placement),
    }


def _on(module: Any, device: str) -> Any:
    return module.to(device)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _refuse_incomplete(folder: Path, info: dict[str, Any]) -> None:
    # transformers fills missing tensors with random numbers and only logs it.
    missing = sorted(info["missing_keys"])
    if missing:
        raise SubjectError(
            f"the weights of {folder} lack {len(missing)} tensors that config.json asks for, "
            f"{missing[0]} among them",
            hint="copy the whole model; a folder of adapters is no model: merge it first",
        )
