"""The forms that a tensor of the reference may take in a suspect, and how one of them compares."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

BITS = range(8, 1, -1)
GGUF_TYPES = ("Q8_0", "Q4_0", "Q4_1")
"""Recomputed whatever the suspect's file is; of a GGUF file its own types are, too."""
_REPRODUCIBLE = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
_GGUF_BLOCK = 32
_SAMPLED_ROWS = 4
_SAMPLED_ELEMENTS = 4096
_SMALLEST_PART = 0.01
_FEWEST = 7  # of 100 numbers in bfloat16 one or two are equal by chance


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A deterministic change of one tensor."""

    name: str
    change: "Callable[[torch.Tensor], torch.Tensor] | None" = None
    """float32 -> float32 of the same shape; None leaves the tensor as it is."""
    by_row: bool = False
    """Whether each row's result depends on that row alone."""


COPY = Form("copy")


@dataclass(frozen=True, slots=True)
class Count:
    """How a suspect's tensor compares with a recomputed one."""

    equal: int
    """Elements other than 0 that are equal bit for bit."""
    elements: int
    """Elements other than 0 in one of the two."""
    whole: bool
    """Whether every element is equal, those of 0 too."""


def forms_for(theirs: "torch.Tensor", stored_type: str) -> Iterator[Form]:
    """Yield the forms of the reference alone that a suspect's tensor could be, the plainest first.

    Vectors (norms, biases) are left as they are by roundings, as the transforms leave them.

    Args:
        theirs: the suspect's tensor: its shape, and where it is 0.
        stored_type: its type in the suspect's file.
    """
    from auditor.kernels.weight_forms import NARROW

    yield COPY
    for name, narrow in NARROW.items():
        yield Form(name, partial(_narrowed, narrow=narrow), by_row=True)
    for bits in BITS:
        yield _of_matrices(f"int{bits}", theirs, _rounded(bits))
    if importlib.util.find_spec("gguf") is not None:
        for kind in GGUF_TYPES:
            yield _gguf(kind, kind, theirs)
        if stored_type in _REPRODUCIBLE:
            yield _gguf("gguf", stored_type, theirs)
    yield from _sparse(theirs)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A suspect's tensor."""

    values: "torch.Tensor"
    """In a type that torch compares: bytes are widened."""
    kind: "torch.dtype"
    """That it is stored in."""

    def rounded(self, given: "torch.Tensor") -> "torch.Tensor":
        """Return a recomputed tensor as it would have been stored."""
        return given.to(self.kind).to(self.values.dtype)


def as_stored(tensor: "torch.Tensor") -> Stored:
    """Return a tensor with the type that it is stored in."""
    return Stored(tensor.float() if tensor.dtype.itemsize == 1 else tensor, tensor.dtype)


def merged_form(source: "torch.Tensor", other: "torch.Tensor", suspect: Stored) -> Form | None:
    """Return the linear merge of two tensors that gives a third, or None where none does.

    The two shares are solved by least squares in float64, then rounded to few decimals and to
    float32, and taken as computed from left to right and as ``source + share (other - source)``.
    A share under 0.01 on either side is no merge.
    """
    import torch

    theirs = suspect.values
    places = torch.linspace(0, theirs.numel() - 1, min(theirs.numel(), _SAMPLED_ELEMENTS)).long()
    a, b, wanted = (part.flatten()[places] for part in (source, other, theirs))
    best, most = None, 0.5
    for form in _merges(source, other, theirs):
        equal = float((suspect.rounded(form(a, b)) == wanted).float().mean())
        if equal > most:
            best, most = form, equal
    if best is None:
        return None
    chosen = best
    return Form("merged", lambda weight: chosen(weight, other))


def count(suspect: Stored, source: "torch.Tensor", form: Form, least: float) -> Count:
    """Return how the suspect's tensor compares with a form of the reference's.

    A form that works row by row is tried on a few rows first and counts as missed where most of
    them differ; so does one that reproduces no more than a share `least` of the elements.
    """
    import torch

    theirs = suspect.values
    missed = Count(0, int(torch.count_nonzero(theirs)), whole=False)
    if form.by_row and theirs.ndim == 2 and len(theirs) > 2 * _SAMPLED_ROWS:
        rows = torch.linspace(0, len(theirs) - 1, _SAMPLED_ROWS).long()
        tried = _compared(theirs[rows], suspect.rounded(_changed(form, source[rows])))
        if tried.equal < 0.5 * tried.elements:
            return missed
    found = _compared(theirs, suspect.rounded(_changed(form, source)))
    return found if found.equal > max(least * found.elements, _FEWEST) else missed


def _compared(theirs: "torch.Tensor", given: "torch.Tensor") -> Count:
    import torch

    same = given == theirs
    alike = int(torch.count_nonzero(same))
    neither = int(torch.count_nonzero(same & (theirs == 0)))  # 0 in both
    return Count(
        equal=alike - neither,
        elements=theirs.numel() - neither,
        whole=alike == theirs.numel(),
    )


def _changed(form: Form, weight: "torch.Tensor") -> "torch.Tensor":
    return weight if form.change is None else form.change(weight)


def _narrowed(weight: "torch.Tensor", narrow: "torch.dtype") -> "torch.Tensor":
    return weight.to(narrow).float()


def _rounded(bits: int) -> "Callable[[torch.Tensor], torch.Tensor]":
    from auditor.kernels.weight_forms import rounded_rows

    return lambda weight: rounded_rows(weight, bits)


def _of_matrices(
    name: str, theirs: "torch.Tensor", change: "Callable[[torch.Tensor], torch.Tensor]"
) -> Form:
    return Form(name, change, by_row=True) if theirs.ndim == 2 else Form(name)


def _gguf(name: str, kind: str, theirs: "torch.Tensor") -> Form:
    """Return the round trip through blocks of a row; rows that hold no whole blocks stay."""
    if theirs.ndim != 2 or theirs.shape[1] % _GGUF_BLOCK:
        return Form(name)

    def round_trip(weight: "torch.Tensor") -> "torch.Tensor":
        import gguf
        import torch

        block = gguf.GGMLQuantizationType[kind]
        packed = gguf.quantize(np.ascontiguousarray(weight.numpy()), block)
        return torch.from_numpy(np.asarray(gguf.dequantize(packed, block), dtype=np.float32))

    return Form(name, round_trip, by_row=True)


def _sparse(theirs: "torch.Tensor") -> Iterator[Form]:
    """Yield the magnitude-pruned form with as many zeros, and that of any other mask."""
    import torch

    from auditor.kernels.weight_forms import pruned

    zeros = theirs.numel() - int(torch.count_nonzero(theirs))
    if not zeros or theirs.ndim != 2:
        yield from (Form("pruned"), Form("masked"))
        return
    yield Form("pruned", lambda weight: pruned(weight, zeros))
    yield Form("masked", lambda weight: torch.where(theirs == 0, torch.zeros_like(weight), weight))


_Merge = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


def _merges(
    source: "torch.Tensor", other: "torch.Tensor", theirs: "torch.Tensor"
) -> Iterator[_Merge]:
    for shares in _shares(source, other, theirs):
        yield partial(_summed, shares=shares)
        yield partial(_between, share=shares[1])


def _summed(a: "torch.Tensor", b: "torch.Tensor", shares: tuple[float, float]) -> "torch.Tensor":
    from auditor.kernels.weight_forms import mixed

    return mixed([a, b], shares)


def _between(a: "torch.Tensor", b: "torch.Tensor", share: float) -> "torch.Tensor":
    return a + (b - a) * share


def _shares(
    source: "torch.Tensor", other: "torch.Tensor", theirs: "torch.Tensor"
) -> list[tuple[float, float]]:
    """Return candidates for the two shares: round numbers first, then the solved ones."""
    a, b, m = (part.double().flatten() for part in (source, other, theirs))
    table = np.array([[float(a @ a), float(a @ b)], [float(a @ b), float(b @ b)]])
    if np.linalg.cond(table) > 1e14:
        return []  # the same tensor twice: any shares would do
    first, second = np.linalg.solve(table, [float(a @ m), float(b @ m)]).tolist()
    if min(abs(first), abs(second)) < _SMALLEST_PART:
        return []
    found = []
    for decimals in (1, 2, 3, 4):
        share = round(second, decimals)
        found += [(1 - share, share), (round(first, decimals), share)]
    return [*dict.fromkeys(found), (first, second)]
