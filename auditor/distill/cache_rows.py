"""What the logit cache keeps of a position, by scheme, and back.

dense  the teacher's final hidden state. With the teacher's head, kept once, it gives the whole
       distribution at any temperature: 2 D bytes a position in float16 where logits would take 2 V.
topk   the K likeliest ids, their log-probabilities (float16) and the mass of the others (float32).
pps    K sampled ids (`auditor.kernels.sparse.PpsTargets`). All ids that were not certain share one
       weight, so only the probabilities of the h certain ones are kept, and the rest of the mass.

Ids are packed to the bits that the vocabulary needs. Probabilities are kept as float16 logarithms
(relative error at most 2^-9 for a probability above 3e-4) and scaled to their sum again.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from auditor.kernels.sparse import PpsTargets, SparseTargets, TopKTargets
from auditor.types import Array

Arrays = dict[str, Array]
_WORD = 32
"""Bits of an unpacked id."""


def id_bits(vocabulary: int) -> int:
    """Return the bits that hold every id of `vocabulary` tokens."""
    return max(1, (vocabulary - 1).bit_length())


def most_bytes(scheme: str, k: int, vocabulary: int, width: int, dtype: str) -> int:
    """Return what a position takes at most, in bytes, without the shard's header.

    Args:
        scheme: ``dense``, ``topk`` or ``pps``.
        k: entries of a position.
        vocabulary: V.
        width: D of the teacher's hidden state.
        dtype: of dense states.
    """
    if scheme == "dense":
        return width * np.dtype(dtype).itemsize
    ids = -(-min(k, vocabulary) * id_bits(vocabulary) // 8)
    return ids + 2 * min(k, vocabulary) + (4 if scheme == "topk" else 8)


def encode(targets: SparseTargets, vocabulary: int) -> Arrays:
    """Return the arrays of T positions; all but ``head`` have T rows."""
    packed = {"ids": pack_ids(targets.ids.numpy(), id_bits(vocabulary))}
    if isinstance(targets, TopKTargets):
        return {
            **packed,
            "logprobs": targets.logprobs.numpy().astype(np.float16),
            "tail": targets.tail_mass.numpy().astype(np.float32),
        }
    weights = targets.weights.numpy()  # (T, K): certain ids first, then equal weights
    certain = weights > weights[:, -1:]
    return {
        **packed,
        "head": np.log(weights[certain]).astype(np.float16),
        "certain": certain.sum(1).astype(np.uint16),
        "tail": np.where(certain, 0.0, weights).sum(1).astype(np.float32),
        "entropy": targets.entropy.numpy().astype(np.float16),
    }


def decode(
    scheme: str, arrays: Mapping[str, Array], k: int, vocabulary: int, temperature: float
) -> SparseTargets:
    """Return the targets of the positions whose arrays `encode` gave."""
    entries = min(k, vocabulary)
    ids = torch.from_numpy(unpack_ids(arrays["ids"], entries, id_bits(vocabulary)))
    tail = arrays["tail"].astype(np.float64)
    if scheme == "topk":
        logs = arrays["logprobs"].astype(np.float64)
        listed = _scaled(np.exp(logs), 1.0 - tail)
        return TopKTargets(
            ids=ids,
            logprobs=torch.from_numpy(listed).log().float(),  # -inf where the teacher rules out
            tail_mass=torch.from_numpy(tail).float(),
            temperature=temperature,
        )
    counts = arrays["certain"].astype(np.int64)
    certain = np.arange(entries) < counts[:, None]
    weights = np.zeros((len(counts), entries))
    weights[certain] = np.exp(arrays["head"].astype(np.float64))
    weights = _scaled(weights, 1.0 - tail)
    weights += np.where(certain, 0.0, (tail / np.maximum(entries - counts, 1))[:, None])
    return PpsTargets(
        ids=ids,
        weights=torch.from_numpy(weights).float(),
        entropy=torch.from_numpy(arrays["entropy"].astype(np.float32)),
        temperature=temperature,
    )


def _scaled(masses: Array, total: Array) -> Array:
    """Return rows of `masses` (T, K) that sum to `total` (T,); a row of zeros stays."""
    found = masses.sum(1)
    return masses * np.where(found > 0, total / np.where(found > 0, found, 1.0), 0.0)[:, None]


def pack_ids(ids: Array, bits: int) -> Array:
    """Return (T, ceil(K bits / 8)) uint8: the K ids of a row, highest bit first."""
    words = np.ascontiguousarray(ids.astype(">u4")).view(np.uint8)
    single = np.unpackbits(words.reshape(*ids.shape, 4), axis=-1)  # (T, K, 32)
    return np.packbits(single[..., _WORD - bits :].reshape(len(ids), -1), axis=1)


def unpack_ids(packed: Array, k: int, bits: int) -> Array:
    """Return the (T, K) int64 ids of `pack_ids`."""
    single = np.unpackbits(packed, axis=1, count=k * bits).reshape(len(packed), k, bits)
    words = np.zeros((len(packed), k, _WORD), dtype=np.uint8)
    words[..., _WORD - bits :] = single
    return np.packbits(words, axis=-1).view(">u4")[..., 0].astype(np.int64)


def dense_rows(states: Tensor, dtype: str) -> Arrays:
    """Return hidden states (T, D) as `dtype`.

    Raises:
        OverflowError: a value does not fit the type.
    """
    wide = states.detach().cpu().float().numpy()
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    if not np.isfinite(narrow).all():
        raise OverflowError(f"the largest hidden state is {np.abs(wide).max():.3g}")
    return {"states": narrow}
