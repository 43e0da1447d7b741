import math

import numpy as np
import pytest
import torch
from embedding_world import make_encoder
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses

from auditor.distill.embedding_fidelity import fidelity, neighbours_of, pair_correlation
from auditor.distill.embedding_loss import EmbeddingLoss, embedding_loss, similarity_divergence
from auditor.distill.embedding_recipe import EmbeddingChoice

MSE, COSINE = EmbeddingChoice(loss="mse"), EmbeddingChoice(loss="cosine")
E0, E1 = [1.0, 0.0], [0.0, 1.0]


def test_squared_error_is_the_mean_over_texts_and_numbers():
    # (1 + 0 + 0 + 4) / 4
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert embedding_loss(student, torch.zeros(2, 2), MSE).item() == 1.25


def test_cosine_loss_of_a_right_angle_and_of_an_opposite():
    # 1 - 0 and 1 - (-1), whatever the lengths
    student, teacher = torch.tensor([E0, E0]), torch.tensor([[0.0, 5.0], [-3.0, 0.0]])
    assert embedding_loss(student, teacher, COSINE).item() == pytest.approx(1.5, abs=1e-6)


def test_similarity_divergence_of_three_texts_by_hand():
    # Softmax over the two others at temperature 1: (high, low) where one is equal and the other
    # orthogonal, (1/2, 1/2) where both are alike.
    high, low = math.e / (math.e + 1), 1 / (math.e + 1)
    expected = [
        high * math.log(high / 0.5) + low * math.log(low / 0.5),  # (high, low) || (1/2, 1/2)
        high - low,  # (high, low) || (low, high): (high - low) ln(high / low), which is 1
        0.5 * math.log(0.5 / low) + 0.5 * math.log(0.5 / high),  # (1/2, 1/2) || (low, high)
    ]
    teacher = torch.tensor([E0, E0, E1], dtype=torch.float64)
    student = torch.tensor([E0, E1, E1], dtype=torch.float64)
    found = similarity_divergence(student, teacher, 1.0).item()
    assert found == pytest.approx(sum(expected) / 3, rel=1e-12)


def test_similarity_divergence_needs_no_common_width_and_is_zero_for_a_copy_of_another_length():
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    wider = torch.cat([3 * rows, torch.zeros(7, 2)], dim=1)
    assert similarity_divergence(wider, rows, 0.05).item() == pytest.approx(0, abs=1e-6)
    assert similarity_divergence(wider.flip(0), rows, 0.05).item() > 0.1


def test_similarity_divergence_of_two_texts_is_zero():
    assert similarity_divergence(torch.tensor([E0, E1]), torch.tensor([E0, E0]), 0.1).item() == 0


def test_similarity_divergence_has_the_gradient_of_finite_differences():
    draw = torch.Generator().manual_seed(2)
    student = torch.randn(4, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: similarity_divergence(s, teacher, 0.3), (student,))


@pytest.mark.parametrize("choice", [MSE, COSINE], ids=lambda c: c.loss)
def test_losses_are_those_of_sentence_transformers(tmp_path, choice):
    model = SentenceTransformer(str(make_encoder(tmp_path / "encoder")), device="cpu").eval()
    targets = torch.randn(9, 24, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([4, 0, 8])
    texts = ["a cat", "the green hills", "rain fell over a wall"]
    theirs = losses.EmbedDistillLoss(model, distance_metric=choice.loss)
    expected = theirs([model.preprocess(texts)], targets[labels])
    found = EmbeddingLoss(model, targets, choice)([model.preprocess(texts)], labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def embeddings(count, width, seed):
    return np.random.RandomState(seed).randn(count, width).astype(np.float32)


def test_an_embedding_is_wholly_faithful_to_itself():
    rows = embeddings(30, 6, 1)
    found = fidelity(rows, rows, MSE)
    assert found == pytest.approx({"loss": 0, "cosine": 1, "spearman": 1, "neighbours": 1})


def test_a_rotation_keeps_similarities_and_neighbours_but_no_vector():
    rows = embeddings(30, 6, 1)
    turned = (rows @ np.linalg.qr(embeddings(6, 6, 2))[0]).astype(np.float32)
    found = fidelity(turned, rows, MSE)
    assert found["spearman"] == pytest.approx(1, abs=1e-5)
    assert found["neighbours"] == pytest.approx(1)
    assert found["cosine"] < 0.9


def test_rank_correlation_is_scipys_over_all_pairs():
    a, b = embeddings(12, 4, 3), embeddings(12, 5, 4)
    upper = np.triu_indices(12, k=1)

    def cosines(rows):
        unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1)[:, None]
        return (unit @ unit.T)[upper]

    expected = spearmanr(cosines(a), cosines(b)).statistic
    assert pair_correlation(a, b) == pytest.approx(expected, rel=1e-9)


def test_what_a_few_texts_cannot_say_is_none():
    pair = np.array([E0, E1], dtype=np.float32)
    two = fidelity(pair, pair, MSE)
    assert (two["spearman"], two["neighbours"]) == (None, None)
    one = fidelity(pair[:1], pair[:1], EmbeddingChoice(loss="similarity"))
    assert (one["loss"], one["cosine"]) == (None, 1)
    assert pair_correlation(np.array([E0, E0, E0]), embeddings(3, 2, 1)) is None


def test_width_of_its_own_leaves_cosine_undefined():
    similarity = EmbeddingChoice(loss="similarity")
    assert fidelity(embeddings(5, 3, 1), embeddings(5, 4, 1), similarity)["cosine"] is None


def test_neighbours_are_at_most_half_of_the_others():
    assert [neighbours_of(n) for n in (0, 1, 2, 3, 5, 20, 21, 500)] == [0, 0, 0, 1, 2, 9, 10, 10]
