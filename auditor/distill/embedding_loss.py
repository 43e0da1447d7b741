"""How far the student's embeddings are from the teacher's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from auditor.distill.embedding_recipe import EmbeddingChoice

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def embedding_loss(
    student: torch.Tensor, teacher: torch.Tensor, choice: EmbeddingChoice
) -> torch.Tensor:
    """Return the mean loss over n texts, a scalar in fp32.

    ``mse``: squared difference, mean over texts and numbers (Reimers & Gurevych 2020, section 2:
    MSE of teacher and student embedding). ``cosine``: 1 - cosine, in [0, 2]. ``similarity``: see
    `similarity_divergence`.

    Args:
        student: (n, E); for similarity any width.
        teacher: (n, E).
        choice: of the recipe.
    """
    student, teacher = student.float(), teacher.float()
    if choice.loss == "mse":
        return torch.nn.functional.mse_loss(student, teacher)
    if choice.loss == "cosine":
        return (1 - torch.nn.functional.cosine_similarity(student, teacher)).mean()
    return similarity_divergence(student, teacher, choice.temperature)


def similarity_divergence(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return mean KL(teacher || student), nats, of how similar each text is to the others.

    For text i the softmax over j != i of cosine(i, j) / temperature; widths may differ. 0 for two
    texts, where there is nothing to choose.

    Args:
        student: (n, Es), n >= 2.
        teacher: (n, Et).
        temperature: above 0.
    """
    log_p, log_q = (_log_similarity(rows, temperature) for rows in (teacher, student))
    return torch.nn.functional.kl_div(log_q, log_p, reduction="sum", log_target=True) / len(student)


def _log_similarity(rows: torch.Tensor, temperature: float) -> torch.Tensor:
    unit = torch.nn.functional.normalize(rows, dim=1)
    cosines = unit @ unit.T  # (n, n)
    count = len(rows)
    # Taken out, not masked with -inf: 0 * -inf has no gradient.
    others = ~torch.eye(count, dtype=torch.bool, device=rows.device)
    return (cosines[others].view(count, count - 1) / temperature).log_softmax(1)


class EmbeddingLoss(torch.nn.Module):
    """The loss as sentence-transformers' trainer calls it: labels are numbers of texts."""

    targets: torch.Tensor

    def __init__(
        self, model: "SentenceTransformer", targets: torch.Tensor, choice: EmbeddingChoice
    ) -> None:
        """Learn `targets`, (N, E): the teacher's embedding of each text."""
        super().__init__()
        self.model = model
        self._choice = choice
        self.register_buffer("targets", targets, persistent=False)

    def forward(self, features: Sequence[dict[str, Any]], labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss over the texts of a batch."""
        found = self.model(features[0])["sentence_embedding"]
        return embedding_loss(found, self.targets[labels], self._choice)
