"""How alike two fingerprints are: what they share, and how far apart their sketches lie."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from auditor.models.vocabulary import Vocabulary
from auditor.registry.fingerprint import Weights
from auditor.registry.positions import Place
from auditor.types import Array


def reused(suspect: Weights, reference: Weights) -> float | None:
    """Return the share of the suspect's matrices whose ends are those of one of the reference's.

    Of the same type and shape, wherever they are in the model. None where it has no matrix.
    """
    total = sum(suspect.contents.values())
    shared: Counter[str] = suspect.contents & reference.contents
    return sum(shared.values()) / total if total else None


def vocabulary_overlap(suspect: Vocabulary, reference: Vocabulary) -> float | None:
    """Return the Jaccard index of the tokens as bytes; None where neither has any."""
    ours, theirs = (
        {piece for piece in vocabulary.pieces if piece is not None}
        for vocabulary in (suspect, reference)
    )
    union = len(ours | theirs)
    return len(ours & theirs) / union if union else None


def sketch_distances(models: Sequence[Weights]) -> Array:
    """Return (n, n) float64 distances in [0, 1], 0 on the diagonal, symmetric, to 6 decimals.

    One minus the mean cosine of the sketches of matrices with one role, layer and shape; a matrix
    that only one of the two has counts as cosine 0. Unrelated models lie near 1; copies whose
    units were put in another order anywhere up to there.
    """
    held = np.array([len(model.places) for model in models], dtype=np.float64)
    cosines = np.zeros((len(models), len(models)))
    for members in _by_place(models).values():
        numbers = [number for number, _ in members]
        sketches = np.stack([models[n].sketches[row] for n, row in members]).astype(np.float64)
        cosines[np.ix_(numbers, numbers)] += sketches @ sketches.T  # (m, 128) -> (m, m)
    most = np.maximum(held[:, None], held[None, :])
    distances = np.clip(1.0 - cosines / np.maximum(most, 1.0), 0.0, 1.0)
    np.fill_diagonal(distances, 0.0)
    # Float32 sketches of equal samples differ from a cosine of 1 by 1e-7 at most.
    return np.round((distances + distances.T) / 2, 6)


def _by_place(models: Sequence[Weights]) -> dict[Place, list[tuple[int, int]]]:
    """Return (model, row of its sketches) of every model that has a matrix at a place."""
    found: dict[Place, list[tuple[int, int]]] = {}
    for number, model in enumerate(models):
        for row, place in enumerate(model.places):
            found.setdefault(place, []).append((number, row))
    return found
