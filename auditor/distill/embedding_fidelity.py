"""How close an encoder is to its teacher on the held-out texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.canon import finite
from auditor.distill.embedding_loss import embedding_loss
from auditor.distill.embedding_recipe import EmbeddingChoice
from auditor.kernels import mutual_knn
from auditor.types import Array

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_NEIGHBOURS = 10


class EncoderHoldout:
    """The held-out texts with the teacher's embeddings of them."""

    def __init__(self, texts: Sequence[str], targets: Array, choice: EmbeddingChoice) -> None:
        """Measure on n `texts`, whose teacher embeddings are `targets`, (n, E)."""
        self._texts = texts
        self._targets = targets
        self._choice = choice

    def measure(self, module: "SentenceTransformer") -> dict[str, float | None]:
        """Return `fidelity` of the student; it keeps its mode."""
        from auditor.models.encoder import Encoder

        training = module.training
        module.eval()
        rows = Encoder(module, "student", "").vectors(self._texts)
        module.train(training)
        return fidelity(rows, self._targets, self._choice)


def fidelity(student: Array, teacher: Array, choice: EmbeddingChoice) -> dict[str, float | None]:
    """Return how alike two embeddings of the same n texts are.

    ``loss``: the method's, all texts as one batch; ``cosine``: mean cosine of a text's two vectors,
    None where their widths differ; ``spearman``: rank correlation of the similarities of all pairs
    of texts, None below 3 texts or where one embedding has all pairs equal; ``neighbours``: mean
    share of a text's k nearest neighbours that both have, by chance k / (n - 1), see
    `neighbours_of`; None below 3 texts.

    Args:
        student: (n, Es).
        teacher: (n, Et).
        choice: of the recipe.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    count, k = len(teacher), neighbours_of(len(teacher))
    a, b = torch.from_numpy(student), torch.from_numpy(teacher)
    same = student.shape == teacher.shape
    # Of fewer than 2 texts there is no pair to compare.
    known = choice.needs_width or count > 1
    cosines = torch.nn.functional.cosine_similarity(a.double(), b.double()) if same else None
    return {
        "loss": finite(float(embedding_loss(a, b, choice))) if known else None,
        "cosine": None if cosines is None else finite(float(cosines.mean())),
        "spearman": pair_correlation(student, teacher),
        "neighbours": finite(float(mutual_knn(student, teacher, k).mean())) if k else None,
    }


def neighbours_of(count: int) -> int:
    """Return k for `count` texts: 10, and at most half of the others, of which all are no choice.

    0 below 3 texts.
    """
    return min(_NEIGHBOURS, max(count - 1, 0) // 2)


def pair_correlation(student: Array, teacher: Array) -> float | None:
    """Return Spearman's correlation of the cosines of all pairs of rows; ties share their ranks.

    None below 3 rows, or where all cosines of one are equal.
    """
    from scipy.stats import rankdata

    upper = np.triu_indices(len(teacher), k=1)
    if len(teacher) < 3:
        return None
    ranks = [rankdata(_cosines(rows)[upper]) for rows in (student, teacher)]
    a, b = (rank - rank.mean() for rank in ranks)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return finite(float(a @ b) / scale) if scale else None


def _cosines(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / np.where(lengths > 0, lengths, 1.0)
    return unit @ unit.T  # (n, n)
