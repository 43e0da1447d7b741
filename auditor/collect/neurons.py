"""The partners of a suspect's neurons in the reference: rows of ``arrays/neurons/<suspect>.npy``.

Each neuron is described by sides that its order, and a rotation of the residual stream, do not
change. Gated MLP: activations of the gate and of the up projection at the same positions. Plain
MLP: its activation, and what it writes seen through the unembedding (its direct effect on the
logits of some tokens). A third side, the incoming weights, is for the test of the order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.collect.activations import (
    FEWEST_POSITIONS,
    NeuronActivations,
    activations_path,
    chosen_positions,
)
from auditor.collect.agreement import from_stored
from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.kept import Kept
from auditor.collect.matching import partners, without_common
from auditor.collect.sequences import ForcedText
from auditor.collect.store import part_path
from auditor.errors import AccessError, UndefinedError
from auditor.models.base import Head, Model
from auditor.models.projections import FinalNorm, Mlp, final_norm, mlps_of
from auditor.panel import NEURON
from auditor.types import Array

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

WIDEST = 2048
"""Neurons compared in a layer; the assignment costs the cube of their number. Of a wider layer
those whose gate varies most, in each model by itself: permuted copies keep the same ones."""
TOKENS = 1024
"""Tokens whose logits describe what a neuron of a plain MLP writes."""
COMMON = 1 / 6
"""Directions that are left out of the sides of a plain MLP, as a share of its residual width."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerSides:
    """The compared neurons of one layer and their sides, n rows each, as the model computed."""

    neuron: Array
    """(n,) their numbers in the layer."""
    gate: Array
    """(n, N)."""
    up: Array
    """(n, N or tokens)."""
    weight: Array
    """(n, D)."""


def module_of(model: Model) -> "PreTrainedModel":
    """Return the module of a subject whose weights are at hand.

    Raises:
        AccessError: it has none.
    """
    module: PreTrainedModel | None = getattr(model, "module", None)
    if module is None:
        raise AccessError(f"{model.ref.spec} shows no weights")
    return module


def open_activations(
    run: Collection, model: Model, name: str, texts: Sequence[ForcedText]
) -> NeuronActivations | None:
    """Return what the pass over the texts has to keep for the neurons; None where all is done.

    Raises:
        UndefinedError: the neurons of this subject cannot be compared; the message says why.
    """
    kept = Kept(run.case, run.reference)
    done = kept.has_note("neurons") if name == run.reference else _is_compared(run, name)
    if done:
        return None
    try:
        mlps = mlps_of(module_of(model))
    except AccessError as error:
        raise UndefinedError(error.message) from error
    if name != run.reference:
        _check_shape(kept.note("neurons"), mlps)
    count = sum(len(places) for places in chosen_positions(texts).values())
    if count < FEWEST_POSITIONS:
        raise UndefinedError(f"{count} token positions; at least {FEWEST_POSITIONS} are needed")
    if activations_path(run.case, name).is_file():
        return None
    return NeuronActivations(run.case, name, texts, mlps)


def keep_neurons(run: Collection, model: Model) -> None:
    """Keep the sides of the reference's neurons.

    Raises:
        UndefinedError: a weight or activation is not finite.
        StorageError: the disk is full.
    """
    kept, mlps = Kept(run.case, run.reference), mlps_of(module_of(model))
    for layer, sides in enumerate(_sides(run, model, run.reference)):
        kept.write(
            _layer(layer), neuron=sides.neuron, gate=sides.gate, up=sides.up, weight=sides.weight
        )
    kept.write_note("neurons", **_shape(mlps))


def compare_neurons(run: Collection, model: Model, name: str) -> None:
    """Write ``arrays/neurons/<name>.npy``, one layer after another.

    Raises:
        UndefinedError: a weight or activation is not finite.
        StorageError: the disk is full; finished layers are kept.
    """
    if _is_compared(run, name):
        return
    kept = Kept(run.case, run.reference)
    note = kept.note("neurons")
    ends = np.cumsum([min(count, WIDEST) for count in note["neurons"]]).tolist()
    path = run.case.array("neurons", name)
    try:
        with ArrayWriter(path, NEURON, ends[-1]) as writer:
            done = writer.resume([0, *ends])
            run.log_cut(path, writer.cut)
            steps = _compared_layers(run, model, name, writer)
            run.show(f"match neurons {name}", len(ends) - int(np.searchsorted(ends, done)), steps)
            writer.finish()
    except UndefinedError:
        part_path(path).unlink(missing_ok=True)
        raise


def _compared_layers(
    run: Collection, model: Model, name: str, writer: ArrayWriter
) -> Iterator[int]:
    kept, end = Kept(run.case, run.reference), 0
    gated = kept.note("neurons")["gated"]
    for layer, theirs in enumerate(_sides(run, model, name)):
        end += len(theirs.neuron)
        if end > writer.rows:
            ours = LayerSides(**kept.read(_layer(layer)))
            writer.append(layer_rows(layer, ours, theirs, gated=gated))
            yield 1


def layer_rows(layer: int, ours: LayerSides, theirs: LayerSides, *, gated: bool) -> Array:
    """Return (n,) NEURON rows of one layer: the partners of `theirs` among `ours`, side by side.

    Gated: an up projection is linear in its neuron: negated together with the outgoing weights it
    computes the same, so its cosine counts without its sign. Plain: independent models learn the
    same neurons ("after q comes u"), whose two sides then agree: 9 of 192 in trained pairs, where 1
    is chance. Without the `COMMON` directions of both models it is 2, and p is uniform.
    """
    rows = np.zeros(len(theirs.neuron), dtype=NEURON)
    rows["layer"], rows["neuron"] = layer, theirs.neuron
    common = 0 if gated else int(COMMON * theirs.weight.shape[1])
    for number, side in enumerate(("gate", "up", "weight")):
        tables = [_centred(getattr(one, side), side) for one in (ours, theirs)]
        if common and side != "weight":
            tables = list(without_common(tables[0], tables[1], common))
        signed = not gated or side == "gate"
        found = partners(tables[0], tables[1], seed=3 * layer + number, signed=signed)
        rows[side] = ours.neuron[found.ours]
        rows[f"{side}_cosine"] = found.cosine
    return rows


def _centred(rows: Array, side: str) -> Array:
    """Return a side in float64; activations, and logits, around their mean over the columns.

    What all neurons share, the mean state of the layer, says nothing about one of them.
    """
    table = np.asarray(rows, dtype=np.float64)
    return table if side == "weight" else table - table.mean(axis=1, keepdims=True)


def _is_compared(run: Collection, name: str) -> bool:
    return run.case.array("neurons", name).is_file()


def _layer(layer: int) -> str:
    return f"neurons-{layer:04d}"


def _shape(mlps: Sequence[Mlp]) -> dict[str, object]:
    return {"gated": mlps[0].gate is not None, "neurons": [mlp.neurons for mlp in mlps]}


def _check_shape(reference: dict[str, object], mlps: Sequence[Mlp]) -> None:
    own = _shape(mlps)
    ours, theirs = reference["neurons"], own["neurons"]
    if reference["gated"] != own["gated"]:
        kinds = ["gated" if shape["gated"] else "plain" for shape in (reference, own)]
        raise UndefinedError("different MLPs: {} in the reference, {} here".format(*kinds))
    if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
        depth = [len(x) for x in (ours, theirs) if isinstance(x, list)]
        raise UndefinedError("different depths: {} layers of the reference, {} here".format(*depth))
    if ours != theirs:
        layer = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        raise UndefinedError(
            f"different widths: layer {layer} has {ours[layer]} neurons in the reference, "
            f"{theirs[layer]} here"
        )


def _sides(run: Collection, model: Model, name: str) -> Iterator[LayerSides]:
    """Yield the sides of each layer of a subject whose activations are kept."""
    stored = np.load(activations_path(run.case, name), mmap_mode="r", allow_pickle=False)
    return layer_sides(module_of(model), model.head(), stored)


def layer_sides(module: "PreTrainedModel", head: Head, stored: Array) -> Iterator[LayerSides]:
    """Yield the sides of each layer.

    Args:
        module: the model.
        head: its unembedding.
        stored: (N, all neurons) rows of `NeuronActivations`.

    Raises:
        UndefinedError: a weight or an activation is not finite.
    """
    norm = final_norm(module, int(head.weight.shape[1]))
    column = 0
    for layer, mlp in enumerate(mlps_of(module)):
        parts = []
        for _ in range(1 if mlp.gate is None else 2):
            part = np.array(stored[:, column : column + mlp.neurons].T)  # (H, N)
            parts.append(_wide(from_stored(part, module.dtype)))
            column += mlp.neurons
        chosen = most_varied(parts[0])
        gate, weight = parts[0][chosen], _wide(mlp.incoming.weight[chosen])
        up = (
            written_logits(mlp, chosen, norm, head.weight) if mlp.gate is None else parts[1][chosen]
        )
        if not all(np.isfinite(values).all() for values in (gate, up, weight)):
            raise UndefinedError(f"layer {layer} holds NaN or infinity")
        yield LayerSides(chosen, gate, up, weight)


def _wide(values: "torch.Tensor") -> Array:
    """Return the numbers of a tensor in a type that numpy has, without loss."""
    wide = values if values.element_size() > 2 else values.float()
    return wide.cpu().numpy()


def most_varied(activations: Array) -> Array:
    """Return the numbers, ascending, of the at most `WIDEST` of (H, N) neurons that vary most."""
    spread = np.asarray(activations, dtype=np.float64).var(axis=1)
    return np.sort(np.argsort(-spread, kind="stable")[:WIDEST])


def written_logits(mlp: Mlp, chosen: Array, norm: FinalNorm, unembedding: "torch.Tensor") -> Array:
    """Return (n, tokens): what some neurons add to the logits of evenly spaced tokens.

    The gain of the last norm is part of it, its division is not (it scales all alike).

    Raises:
        UndefinedError: the head does not read what the neurons write.
    """
    written = mlp.written[chosen].double()  # (n, D)
    if written.shape[1] != unembedding.shape[1]:
        raise UndefinedError("the head reads other dimensions than the neurons write")
    if norm.centres:
        written = written - written.mean(dim=1, keepdim=True)
    if norm.gain is not None:
        written = written * norm.gain.double()
    vocabulary = len(unembedding)
    tokens = np.unique(np.linspace(0, vocabulary - 1, min(TOKENS, vocabulary)).astype(np.int64))
    return (written @ unembedding[tokens].double().T).cpu().numpy()
