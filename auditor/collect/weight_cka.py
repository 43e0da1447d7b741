"""Debiased CKA of attention weights in aligned dimensions: ``arrays/weight_cka/<suspect>.npy``.

AWM (ICLR 2026): the residual dimensions of two models are put side by side by what their embedding
columns say about the tokens that both have; then W_Q and W_K are compared with these dimensions as
items, which is invariant to any rotation inside the heads.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.kept import Kept
from auditor.collect.matching import Partners, partners
from auditor.collect.neurons import module_of
from auditor.errors import AccessError, UndefinedError
from auditor.models.base import Model
from auditor.models.projections import query_key_of
from auditor.types import Array

if TYPE_CHECKING:
    import torch

DIMENSIONS = 1024
"""Residual dimensions of the reference that are compared, evenly spaced where it has more."""
TOKENS = 8192
"""Tokens whose embeddings align them, evenly spaced where there are more."""
FEWEST_TOKENS = 64
_FEWEST_DIMENSIONS = 4


def keep_attention(run: Collection, model: Model) -> None:
    """Keep the reference's embeddings of some tokens and its query and key weights.

    Raises:
        UndefinedError: its attention has no known form.
        StorageError: the disk is full.
    """
    kept, layers = Kept(run.case, run.reference), _layers(model)
    table = _embeddings(model)
    width = int(table.shape[1])
    dimensions = _evenly(width, DIMENSIONS)
    pieces = _pieces(model, len(table))
    known = list(pieces.items())
    chosen = [known[i] for i in _evenly(len(known), TOKENS)]
    ids = np.array([token for _, token in chosen], dtype=np.int64)
    kept.write("embedding", rows=_wide(table[ids][:, dimensions]))
    for number, (query, key) in enumerate(layers):
        kept.write(_name(number), query=_wide(query[:, dimensions]), key=_wide(key[:, dimensions]))
    kept.write_note(
        "weight_cka", layers=len(layers), tokens=[piece.hex() for piece, _ in chosen], width=width
    )


def compare_attention(run: Collection, model: Model, name: str) -> None:
    """Write ``arrays/weight_cka/<name>.npy``: (L, L', 2) float64, queries and keys.

    Raises:
        UndefinedError: attention of no known form, too few shared tokens, weights that are not
            finite or do not vary.
        StorageError: the disk is full.
    """
    path = run.case.array("weight_cka", name)
    if path.is_file():
        return
    kept = Kept(run.case, run.reference)
    note, own = kept.note("weight_cka"), _layers(model)
    aligned = _aligned(kept, note, model)
    with ArrayWriter(path, np.float64, note["layers"], (len(own), 2)) as writer:
        writer.resume([0])
        writer.append(_table(kept, note["layers"], own, aligned))
        writer.finish()


def _table(
    kept: Kept, layers: int, own: "tuple[tuple[torch.Tensor, torch.Tensor], ...]", pairs: Partners
) -> Array:
    """Return (L, L', 2)."""
    from auditor.kernels import pairwise_cka, u_centred_gram

    sign = np.where(pairs.cosine < 0.0, -1.0, 1.0)[:, None]
    found = []
    for side, what in enumerate(("query", "key")):
        ours = [
            u_centred_gram(kept.read(_name(layer))[what].T[pairs.ours]) for layer in range(layers)
        ]
        theirs = [
            u_centred_gram(_wide(layer[side]).T[pairs.theirs].astype(np.float64) * sign)
            for layer in own
        ]
        found.append(pairwise_cka(ours, theirs).numpy())
    return np.stack(found, axis=2)


def _aligned(kept: Kept, note: dict[str, Any], model: Model) -> Partners:
    """Return which dimension of the suspect goes with which kept one of the reference."""
    table = _embeddings(model)
    pieces = _pieces(model, len(table))
    wanted = [pieces.get(bytes.fromhex(piece)) for piece in note["tokens"]]
    shared = [row for row, token in enumerate(wanted) if token is not None]
    if len(shared) < FEWEST_TOKENS:
        raise UndefinedError(
            f"{len(shared)} tokens in common; at least {FEWEST_TOKENS} are needed to align "
            "the dimensions"
        )
    theirs = _wide(table[np.array([wanted[row] for row in shared])])
    ours = kept.read("embedding")["rows"][shared]
    found = partners(ours.T, theirs.T, seed=0, signed=False)
    if len(found.ours) < _FEWEST_DIMENSIONS:
        raise UndefinedError(f"{len(found.ours)} dimensions; at least {_FEWEST_DIMENSIONS}")
    return found


def _layers(model: Model) -> "tuple[tuple[torch.Tensor, torch.Tensor], ...]":
    """Return (W_Q, W_K) of each layer.

    Raises:
        UndefinedError: they have no known form, or read other dimensions than are embedded.
    """
    try:
        layers = query_key_of(module_of(model))
    except AccessError as error:
        raise UndefinedError(error.message) from error
    width = int(_embeddings(model).shape[1])
    for number, pair in enumerate(layers):
        if any(int(matrix.shape[1]) != width for matrix in pair):
            raise UndefinedError("attention reads other dimensions than the tokens are embedded in")
        if not all(bool(matrix.isfinite().all()) for matrix in pair):
            raise UndefinedError(f"the attention weights of layer {number} hold NaN or infinity")
    return layers


def _embeddings(model: Model) -> "torch.Tensor":
    table: Any = module_of(model).get_input_embeddings()
    weight: torch.Tensor = table.weight.detach()
    return weight


def _pieces(model: Model, rows: int) -> dict[bytes, int]:
    """Return {bytes of a token: its lowest id}, special tokens left out, in order of the ids."""
    vocabulary: Any = model.vocabulary  # type: ignore[attr-defined]
    found: dict[bytes, int] = {}
    for token, piece in enumerate(vocabulary.pieces[:rows]):
        if piece is not None and token not in vocabulary.special:
            found.setdefault(piece, token)
    return found


def _evenly(count: int, limit: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))


def _wide(values: "torch.Tensor") -> Array:
    wide = values if values.element_size() > 2 else values.float()
    return wide.cpu().numpy()


def _name(layer: int) -> str:
    return f"attention-{layer:04d}"
