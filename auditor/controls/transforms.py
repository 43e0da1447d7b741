"""Deterministic transforms of a model's weights, written as a new transformers folder.

`quantise` makes a replica (the same weights, coarser); `reinitialise` makes a model of the same
shape that shares nothing with its source but shape and tokenizer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from auditor.case import storage_errors
from auditor.errors import CaseError, InputError

if TYPE_CHECKING:
    import torch

    from auditor.models.loading import Loaded


def quantise(spec: str, out: Path, *, bits: int = 8) -> Path:
    """Write `spec` after a round trip through `bits`-bit integers, one scale a row.

    Symmetric absolute-maximum rounding of every matrix: q = round(w / s) with
    s = max|w| / (2^(bits-1) - 1), then w' = q s (Dettmers et al. 2022, arXiv 2208.07339,
    section 2.1, one vector a row). Vectors (norms, biases) stay as they are.

    Raises:
        InputError: `bits` is outside 2..16.
        CaseError: `out` exists and is not empty.
    """
    if not 2 <= bits <= 16:
        raise InputError(f"--bits {bits} is outside 2..16")
    return _transform(spec, out, lambda module: _round_matrices(module, bits))


def reinitialise(spec: str, out: Path, *, seed: int = 0) -> Path:
    """Write a model of the same shape and tokenizer whose weights are drawn anew.

    Raises:
        CaseError: `out` exists and is not empty.
    """
    return _transform(spec, out, lambda module: _draw_anew(module, seed))


def _transform(
    spec: str, out: Path, change: "Callable[[torch.nn.Module], torch.nn.Module]"
) -> Path:
    from auditor.models.loading import load_transformers

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaseError(f"{out} exists and is not empty", hint="give a new --out")
    loaded = load_transformers(spec)
    return _save(change(loaded.module), loaded, out)


def _save(module: "torch.nn.Module", loaded: "Loaded", out: Path) -> Path:
    from auditor.models.quiet import quiet

    with storage_errors(out), quiet():
        out.mkdir(parents=True, exist_ok=True)
        module.save_pretrained(out)  # type: ignore[operator]
        loaded.tokenizer.save_pretrained(out)
    return out


def _round_matrices(module: "torch.nn.Module", bits: int) -> "torch.nn.Module":
    import torch

    levels = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in module.parameters():  # tied weights are visited once
            if parameter.ndim == 2:
                # A row of zeros has no scale; dividing by the smallest normal leaves it zero.
                largest = parameter.abs().amax(dim=1, keepdim=True)
                scale = (largest / levels).clamp_min(torch.finfo(parameter.dtype).tiny)
                parameter.copy_((parameter / scale).round() * scale)
    return module


def _draw_anew(module: "torch.nn.Module", seed: int) -> "torch.nn.Module":
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(module.config)  # type: ignore[no-untyped-call]
    return cast("torch.nn.Module", fresh)
