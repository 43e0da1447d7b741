"""Distillation losses: values, closed-form gradients, limits."""

import math
from typing import Any

import pytest
import torch

from auditor.errors import InputError, VocabularyError
from auditor.kernels import distillation_loss, divergence_loss

KINDS = ["forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd"]
SMOOTH = KINDS[:-1]
INF = float("inf")


class Problem:
    """A student and a teacher with heads of different width, and uneven weights."""

    def __init__(self, dtype: torch.dtype, positions: int = 9, vocabulary: int = 11) -> None:
        draw = torch.Generator().manual_seed(5)

        def table(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=draw, dtype=torch.float64).to(dtype)

        self.h_s, self.w_s = table(positions, 3), table(vocabulary, 3)
        self.h_t, self.w_t = table(positions, 4), table(vocabulary, 4)
        self.bias = table(vocabulary)
        self.weights = torch.rand(positions, generator=draw, dtype=torch.float64).to(dtype)
        self.weights[2] = 0.0
        self.leaves = [t.requires_grad_() for t in (self.h_s, self.w_s, self.bias)]
        self.head: dict[str, Any] = {"softcap": (4.0, 20.0), "scale": (1.2, 0.8)}

    def fused(self, **options: Any) -> Any:
        return distillation_loss(
            self.h_s,
            self.w_s,
            self.h_t,
            self.w_t,
            bias=(self.bias, None),
            weights=self.weights,
            **self.head,
            **options,
        )

    def plain(self, **options: Any) -> torch.Tensor:
        student = 4 * torch.tanh(1.2 * (self.h_s @ self.w_s.T + self.bias) / 4)
        teacher = 20 * torch.tanh(0.8 * (self.h_t @ self.w_t.T) / 20)
        return divergence_loss(student, teacher, **options)


def exact_value(kind: str, student: torch.Tensor, teacher: torch.Tensor, beta: float) -> float:
    """Return a divergence from its textbook definition, term by term in Python floats."""
    s = torch.softmax(student.double(), 0).tolist()
    t = torch.softmax(teacher.double(), 0).tolist()

    def kl(p: list[float], q: list[float]) -> float:
        return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0)

    def mix(p: list[float], q: list[float], weight: float) -> list[float]:
        return [weight * x + (1 - weight) * y for x, y in zip(p, q, strict=True)]

    return {
        "forward-kl": lambda: kl(t, s),
        "reverse-kl": lambda: kl(s, t),
        "jsd": lambda: beta * kl(t, mix(t, s, beta)) + (1 - beta) * kl(s, mix(t, s, beta)),
        "skew-kl": lambda: kl(t, mix(t, s, beta)),
        "skew-rkl": lambda: kl(s, mix(s, t, beta)),
        "tvd": lambda: 0.5 * sum(abs(x - y) for x, y in zip(s, t, strict=True)),
    }[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_definitions(kind: str) -> None:
    draw = torch.Generator().manual_seed(2)
    student = torch.randn(4, 7, generator=draw)
    teacher = torch.randn(4, 7, generator=draw)
    found = divergence_loss(student, teacher, divergence=kind, beta=0.3, temperature=2.0)
    expected = [exact_value(kind, s / 2, t / 2, 0.3) for s, t in zip(student, teacher, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fused_gradient_equals_autograd(kind: str) -> None:
    options = {"divergence": kind, "beta": 0.3, "temperature": 1.7}
    problem = Problem(torch.float64)
    found, plain = problem.fused(chunk=4, **options), problem.plain(**options)
    torch.testing.assert_close(found.per_token, (plain * (problem.weights > 0)).detach())
    torch.testing.assert_close(found.total, (plain * problem.weights).sum())
    ours = torch.autograd.grad(3.0 * found.total, problem.leaves)
    theirs = torch.autograd.grad(3.0 * (plain * problem.weights).sum(), problem.leaves)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kind", SMOOTH)
def test_gradients_pass_gradcheck(kind: str) -> None:
    problem = Problem(torch.float64, positions=3, vocabulary=5)

    def total(*_leaves: torch.Tensor) -> torch.Tensor:
        return problem.fused(divergence=kind, beta=0.4, temperature=1.3, chunk=2).total

    assert torch.autograd.gradcheck(total, problem.leaves)


def test_cross_entropy_equals_torch_with_ignored_labels() -> None:
    problem = Problem(torch.float64)
    labels = torch.tensor([3, 10, 0, -100, 5, 6, 7, 8, -100])
    found = distillation_loss(
        problem.h_s, problem.w_s, divergence="cross-entropy", labels=labels, chunk=4
    )
    logits = problem.h_s @ problem.w_s.T
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(found.total, plain)
    ours = torch.autograd.grad(found.total, problem.leaves[:2])
    theirs = torch.autograd.grad(plain, problem.leaves[:2])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kind", KINDS)
def test_the_chunk_size_changes_nothing(kind: str) -> None:
    results = []
    for chunk in (256, 2, 1):
        problem = Problem(torch.float32, vocabulary=300)
        found = problem.fused(divergence=kind, chunk=chunk)
        results.append([found.total, *torch.autograd.grad(found.total, problem.leaves)])
    for other in results[1:]:
        for mine, first in zip(other, results[0], strict=True):
            torch.testing.assert_close(mine, first, rtol=1e-5, atol=1e-6)


def test_all_positions_masked_gives_zero_with_a_gradient() -> None:
    problem = Problem(torch.float32)
    problem.weights.zero_()
    found = problem.fused(divergence="jsd")
    assert found.total.item() == 0.0
    for gradient in torch.autograd.grad(found.total, problem.leaves):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_zero_for_equal_models_and_positive_otherwise(kind: str) -> None:
    draw = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(20, 50, generator=draw)
    equal = divergence_loss(logits, logits, divergence=kind)
    assert torch.all(equal >= 0)
    assert equal.max() < 1e-6
    for noise in (1e-4, 1e-2, 1.0):
        other = logits + noise * torch.randn(20, 50, generator=draw)
        assert torch.all(divergence_loss(other, logits, divergence=kind) >= 0)
    assert divergence_loss(other, logits, divergence=kind).min() > 1e-3
    gradient = torch.autograd.grad(
        divergence_loss(logits.requires_grad_(), logits, divergence=kind).sum(), logits
    )[0]
    assert kind == "tvd" or gradient.abs().max() < 1e-5


def test_jsd_tends_to_both_kls() -> None:
    problem = Problem(torch.float64)
    forward, reverse = (problem.plain(divergence=k) for k in ("forward-kl", "reverse-kl"))
    # JSD_b / (b (1 - b)) -> KL; unnormalised, 0 and 1 are defined as the KLs
    for beta, limit in ((1e-7, forward), (1 - 1e-7, reverse)):
        near = problem.plain(divergence="jsd", beta=beta, normalise=True)
        torch.testing.assert_close(near, limit, rtol=1e-5, atol=1e-7)
        ended = problem.plain(divergence="jsd", beta=round(beta))
        torch.testing.assert_close(ended, limit)
        fused = problem.fused(divergence="jsd", beta=float(round(beta))).per_token
        torch.testing.assert_close(fused, (limit * (problem.weights > 0)).detach())


def test_skew_divergences_at_zero_are_the_kls_and_are_bounded() -> None:
    problem = Problem(torch.float64)
    for kind, plain in (("skew-kl", "forward-kl"), ("skew-rkl", "reverse-kl")):
        torch.testing.assert_close(
            problem.plain(divergence=kind, beta=0.0), problem.plain(divergence=plain)
        )
    # teacher and student disjoint: -log beta at most
    student, teacher = torch.tensor([[50.0, -50.0]]), torch.tensor([[-50.0, 50.0]])
    for kind in ("skew-kl", "skew-rkl"):
        found = divergence_loss(student, teacher, divergence=kind, beta=0.1)
        assert found.item() == pytest.approx(-math.log(0.1), rel=1e-5)


def test_normalise_divides_by_the_mixing_weights() -> None:
    problem = Problem(torch.float64)
    plain = problem.plain(divergence="jsd", beta=0.2)
    torch.testing.assert_close(
        problem.plain(divergence="jsd", beta=0.2, normalise=True), plain / (0.2 * 0.8)
    )
    fused = problem.fused(divergence="jsd", beta=0.2, normalise=True)
    torch.testing.assert_close(fused.total, (plain * problem.weights).sum() / (0.2 * 0.8))


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_impossible_for_both_cost_nothing(kind: str) -> None:
    draw = torch.Generator().manual_seed(6)
    student = torch.randn(3, 6, generator=draw)
    teacher = torch.randn(3, 6, generator=draw)
    padded = [torch.cat([t, torch.full((3, 2), -INF)], 1) for t in (student, teacher)]
    student.requires_grad_()
    padded[0].requires_grad_()
    cut = divergence_loss(student, teacher, divergence=kind)
    whole = divergence_loss(padded[0], padded[1], divergence=kind)
    torch.testing.assert_close(whole, cut)
    gradient = torch.autograd.grad(whole.sum(), padded[0])[0]
    expected = torch.autograd.grad(cut.sum(), student)[0]
    torch.testing.assert_close(gradient[:, :6], expected)
    assert torch.equal(gradient[:, 6:], torch.zeros(3, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_fused_losses_ignore_tokens_impossible_for_both(kind: str) -> None:
    problem = Problem(torch.float64)
    closed = torch.zeros(11, dtype=torch.float64)
    closed[8:] = -INF
    shared = {"divergence": kind, "beta": 0.3}
    h_s, w_s, h_t, w_t = problem.h_s, problem.w_s, problem.h_t, problem.w_t
    whole = distillation_loss(h_s, w_s, h_t, w_t, bias=(closed, closed), **shared)
    cut = distillation_loss(h_s, w_s[:8], h_t, w_t[:8], **shared)
    torch.testing.assert_close(whole.per_token, cut.per_token)
    for mine, other in zip(
        torch.autograd.grad(whole.total, (h_s, w_s)),
        torch.autograd.grad(cut.total, (h_s, w_s)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_impossible_for_one_side_stay_finite(kind: str) -> None:
    bias = torch.tensor([0.0, -INF, 0.0, 0.0]), torch.tensor([-INF, 0.0, 0.0, 0.0])
    draw = torch.Generator().manual_seed(7)
    h, w = torch.randn(3, 2, generator=draw), torch.randn(4, 2, generator=draw)
    h.requires_grad_()
    w.requires_grad_()
    found = distillation_loss(h, w, h.detach(), w.detach(), divergence=kind, bias=bias)
    assert torch.isfinite(found.total)
    for gradient in torch.autograd.grad(found.total, (h, w)):
        assert torch.all(torch.isfinite(gradient))


def test_half_precision_inputs_get_gradients_of_their_type() -> None:
    problem = Problem(torch.bfloat16)
    found = problem.fused(divergence="forward-kl")
    assert found.total.dtype == torch.float32
    gradients = torch.autograd.grad(found.total, problem.leaves)
    assert [g.dtype for g in gradients] == [torch.bfloat16] * 3
    wide = [leaf.detach().double().requires_grad_() for leaf in problem.leaves]
    problem.h_s, problem.w_s, problem.bias = wide
    problem.h_t, problem.w_t = problem.h_t.double(), problem.w_t.double()
    plain = problem.plain(divergence="forward-kl")
    exact = torch.autograd.grad((plain * problem.weights.double()).sum(), wide)
    for mine, truth in zip(gradients, exact, strict=True):
        torch.testing.assert_close(mine.double(), truth, rtol=1e-2, atol=1e-3)


def test_without_gradients_only_values_are_computed() -> None:
    problem = Problem(torch.float32)
    with torch.no_grad():
        found = problem.fused(divergence="jsd")
    assert not found.total.requires_grad
    torch.testing.assert_close(found.total, problem.fused(divergence="jsd").total.detach())
    assert not problem.fused(divergence="jsd").per_token.requires_grad


def test_a_frozen_head_gets_no_gradient() -> None:
    problem = Problem(torch.float64)
    problem.w_s.requires_grad_(False)
    found = problem.fused(divergence="reverse-kl")
    plain = (problem.plain(divergence="reverse-kl") * problem.weights).sum()
    torch.testing.assert_close(
        torch.autograd.grad(found.total, problem.h_s), torch.autograd.grad(plain, problem.h_s)
    )


def test_unusable_requests_are_refused_by_name() -> None:
    problem = Problem(torch.float32)
    h, w = problem.h_s, problem.w_s
    for options, message in (
        ({"divergence": "kl"}, "unknown divergence 'kl'"),
        ({"divergence": "jsd", "beta": 1.5}, r"beta of jsd must be in \[0, 1\]"),
        ({"divergence": "skew-kl", "beta": 1.0}, r"beta of skew-kl must be in \[0, 1\)"),
        ({"divergence": "tvd", "temperature": 0.0}, "temperature"),
        ({"divergence": "tvd", "chunk": 0}, "chunk"),
        ({"divergence": "tvd", "weights": torch.ones(2)}, "weights must be"),
        ({"divergence": "tvd", "weights": -torch.ones(9)}, "not negative"),
    ):
        with pytest.raises(InputError, match=message):
            distillation_loss(h, w, problem.h_t, problem.w_t, **options)
    with pytest.raises(InputError, match="h_t and w_t"):
        distillation_loss(h, w, divergence="jsd")
    with pytest.raises(InputError, match="labels"):
        distillation_loss(h, w, divergence="cross-entropy")
    with pytest.raises(InputError, match=r"labels\[0\] = 11"):
        distillation_loss(h, w, divergence="cross-entropy", labels=torch.full((9,), 11))
    with pytest.raises(VocabularyError, match="11 token ids and w_t 10"):
        distillation_loss(h, w, problem.h_t, problem.w_t[1:], divergence="jsd")
    with pytest.raises(VocabularyError, match="3 token ids and teacher 4"):
        divergence_loss(torch.zeros(2, 3), torch.zeros(2, 4), divergence="jsd")
