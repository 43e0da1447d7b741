"""Compare the spaces of the logits: ``arrays/span/<suspect>.npy``, see `auditor.collect.span`.

From the weights where both the plan and the subject allow it, from logits otherwise.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from auditor.collect.agreement import from_stored, load_head, states_path
from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.kept import Kept
from auditor.collect.span import LogitSource, Source, WeightSource, factor_of, span_cosines
from auditor.models.base import Head, Model
from auditor.models.unembedding import logits_of
from auditor.types import Access, Array

if TYPE_CHECKING:
    import torch

_SPARE_ROWS = 64
_DIGITS = 4


def needs_logits(run: Collection, model: Model) -> bool:
    """Whether the space of a subject has to be found from its logits."""
    return run.access_reason(model.ref, Access.WEIGHTS) is not None


def keep_space(run: Collection, model: Model) -> None:
    """Keep the factor of the reference's space; its head, and its states, are kept anyway.

    Raises:
        UndefinedError: it has no such space; see `factor_of`.
        StorageError: the disk is full.
    """
    kept, by_logits = Kept(run.case, run.reference), needs_logits(run, model)
    source = _source(run, run.reference, model.head(), by_logits=by_logits)
    kept.write("space", factor=factor_of(source))
    kept.write_note("span", by_logits=by_logits)


def compare_space(run: Collection, model: Model, name: str) -> None:
    """Write ``arrays/span/<name>.npy``: (min(r, r'),) float64, largest first.

    Raises:
        UndefinedError: a side has no such space; see `factor_of`.
        StorageError: the disk is full.
    """
    path = run.case.array("span", name)
    if path.is_file():
        return
    kept, head = Kept(run.case, run.reference), model.head()
    note = kept.note("span")
    their_source = _source(run, name, head, by_logits=needs_logits(run, model))
    theirs = their_source, factor_of(their_source)
    our_head = load_head(run.case, run.reference, head.weight.device)
    our_source = _source(run, run.reference, our_head, by_logits=note["by_logits"])
    cosines = span_cosines((our_source, kept.read("space")["factor"]), theirs)
    with ArrayWriter(path, np.float64, len(cosines)) as writer:
        writer.resume([0])
        writer.append(cosines)
        writer.finish()


def _source(run: Collection, name: str, head: Head, *, by_logits: bool) -> Source:
    if not by_logits:
        return WeightSource(head)
    states = _some_states(run, name, head)
    shape = (len(states), head.vocabulary)
    return LogitSource(_LogitReader(head, states), shape, softcap=head.softcap)


def _some_states(run: Collection, name: str, head: Head) -> "torch.Tensor":
    """Return (N, D) evenly spaced final states, twice as many as dimensions where there are.

    Of states that are equal up to rounding (texts that start alike) one is kept: copies would
    look like rows that show the dimension of the space.
    """
    reader = ArrayReader(states_path(run.case, name))
    total, width = reader.shape
    wanted = np.linspace(0, total - 1, min(total, 2 * width + _SPARE_ROWS)).astype(np.int64)
    rows = np.concatenate([reader.read(row, row + 1) for row in np.unique(wanted).tolist()])
    states = from_stored(rows, head.weight.dtype)
    wide = states.double().numpy()
    rounded = np.round(
        wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30), _DIGITS
    )
    _, first = np.unique(rounded, axis=0, return_index=True)
    return states[np.sort(first)].to(head.weight.device)


class _LogitReader:
    """Logits of some tokens at all positions, as the model itself computes them."""

    def __init__(self, head: Head, states: "torch.Tensor") -> None:
        self._head, self._states = head, states

    def __call__(self, first: int, last: int) -> Array:
        head = self._head
        bias = None if head.bias is None else head.bias[first:last]
        part = replace(head, weight=head.weight[first:last], bias=bias)
        return logits_of(part, self._states).double().cpu().numpy()
