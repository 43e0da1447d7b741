"""Deterministic transforms of a model's weights, written as a new transformers folder.

All but `reinitialise` make replicas: the same weights coarser, fewer, mixed or in another order.
The same transforms of a module in memory are in the files ``transforms_*.py`` beside this one.
Weights are computed and written in float32, but for `cast`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.case import storage_errors
from auditor.controls.transforms_compression import narrowed, pruned, quantised
from auditor.controls.transforms_merging import Merge, merged
from auditor.controls.transforms_symmetry import PARTS, fully_permuted, permuted, rotated
from auditor.controls.transforms_weights import fresh_module
from auditor.errors import CaseError, InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from auditor.models.loading import Loaded


def quantise(spec: str, out: Path, *, bits: int = 8) -> Path:
    """Write `spec` after a round trip through `bits`-bit integers; see `quantised`.

    Raises:
        InputError: `bits` is outside 2..16.
        CaseError: `out` exists and is not empty.
    """
    if not 2 <= bits <= 16:
        raise InputError(f"--bits {bits} is outside 2..16")
    return _transform(spec, out, lambda module: quantised(module, bits))


def reinitialise(spec: str, out: Path, *, seed: int = 0) -> Path:
    """Write a model of the same shape and tokenizer whose weights are drawn anew.

    Raises:
        CaseError: `out` exists and is not empty.
    """
    return _transform(spec, out, lambda module: fresh_module(module, seed))


def prune(spec: str, out: Path, *, share: float = 0.5) -> Path:
    """Write `spec` with the `share` of least magnitude of every matrix set to 0; see `pruned`.

    Raises:
        InputError: `share` is outside [0, 1).
        CaseError: `out` exists and is not empty.
    """
    return _transform(spec, out, lambda module: pruned(module, share))


def cast(spec: str, out: Path, *, dtype: str = "float16") -> Path:
    """Write `spec` in ``float16`` or ``bfloat16``; see `narrowed`.

    Raises:
        InputError: another type, or a weight that it cannot hold.
        CaseError: `out` exists and is not empty.
    """
    return _transform(spec, out, lambda module: narrowed(module, dtype))


def permute(spec: str, out: Path, *, parts: str = "neurons", seed: int = 0) -> Path:
    """Write `spec` with units in another order: the same function; see `permuted`.

    Args:
        spec: the model.
        out: new folder.
        parts: as `permuted`, or ``full``: all parts, then rotated where that is possible.
        seed: of the orders.

    Raises:
        InputError: unknown parts, or an architecture whose units cannot be told apart.
        CaseError: `out` exists and is not empty.
    """
    if parts == "full":
        return _transform(spec, out, lambda module: fully_permuted(module, seed))
    if parts not in PARTS:
        raise InputError(f"unknown parts {parts!r}", hint=f"known: {', '.join(PARTS)}, full")
    return _transform(spec, out, lambda module: permuted(module, parts, seed))


def rotate(spec: str, out: Path, *, seed: int = 0) -> Path:
    """Write `spec` with its residual stream rotated: the same function; see `rotated`.

    Raises:
        InputError: the norms of the architecture do not commute with a rotation.
        CaseError: `out` exists and is not empty.
    """
    return _transform(spec, out, lambda module: rotated(module, seed))


def merge(
    spec: str, out: Path, *, others: Sequence[str], how: Merge, base: str | None = None
) -> Path:
    """Write a merge of `spec` with `others`; tokenizer and config of `spec`; see `merged`.

    Raises:
        InputError: the parents do not fit together or the method.
        CaseError: `out` exists and is not empty.
    """

    def change(module: "PreTrainedModel") -> "PreTrainedModel":
        parents = [module, *(_loaded(other).module for other in others)]
        return merged(parents, how, None if base is None else _loaded(base).module)

    return _transform(spec, out, change)


def _loaded(spec: str) -> "Loaded":
    from auditor.models.loading import load_transformers

    # On the CPU in full precision: a GPU would be given bfloat16.
    return load_transformers(spec, device="cpu", dtype="float32")


def _transform(
    spec: str, out: Path, change: "Callable[[PreTrainedModel], PreTrainedModel]"
) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaseError(f"{out} exists and is not empty", hint="give a new --out")
    loaded = _loaded(spec)
    return _save(change(loaded.module), loaded, out)


def _save(module: "PreTrainedModel", loaded: "Loaded", out: Path) -> Path:
    from auditor.models.quiet import quiet

    with storage_errors(out), quiet():
        out.mkdir(parents=True, exist_ok=True)
        module.save_pretrained(out)
        loaded.tokenizer.save_pretrained(out)
    return out
