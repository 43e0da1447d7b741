"""Sparse targets: exact expectations, and the fused loss against autograd in float64."""

import dataclasses
import math

import pytest
import torch

from auditor.kernels import distillation_loss, pps_targets, topk_targets
from auditor.kernels.sparse import PpsTargets, SparseTargets, TopKTargets, pps_sample

T, D, V = 6, 5, 23


def student(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    h = torch.randn(T, D, generator=draw, dtype=torch.float64, requires_grad=True)
    w = torch.randn(V, D, generator=draw, dtype=torch.float64, requires_grad=True)
    return h, w


def teacher_logits(seed: int = 1, sharpness: float = 2.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return sharpness * torch.randn(T, V, generator=draw, dtype=torch.float64)


def in_float64(targets: SparseTargets) -> SparseTargets:
    """The closed-form gradients take the masses to sum to 1, which float32 rounds by 1e-8."""
    if isinstance(targets, PpsTargets):
        weights = targets.weights.double()
        return dataclasses.replace(targets, weights=weights / weights.sum(1, keepdim=True))
    logprobs = targets.logprobs.double()
    return dataclasses.replace(targets, logprobs=logprobs, tail_mass=1 - logprobs.exp().sum(1))


def naive(logits: torch.Tensor, targets: SparseTargets) -> torch.Tensor:
    """The definition, with whole tables and autograd."""
    log_s = torch.log_softmax(logits / targets.temperature, 1)
    if isinstance(targets, PpsTargets):
        r = torch.zeros_like(log_s).scatter_add(1, targets.ids, targets.weights.double())
        return -(r * log_s).sum(1) - targets.entropy.double()
    inside = torch.zeros_like(log_s, dtype=torch.bool).scatter(1, targets.ids, True)
    log_t, tau = targets.logprobs.double(), targets.tail_mass.double()
    sigma = torch.where(inside, 0.0, log_s.exp()).sum(1)
    kept = (log_t.exp() * (log_t - log_s.gather(1, targets.ids))).sum(1)
    return kept + torch.where(tau > 0, tau * (tau.log() - sigma.log()), 0.0)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("k", [1, 4, V - 1])
@pytest.mark.parametrize("make", [topk_targets, pps_targets])
def test_the_fused_loss_is_the_definition(make: object, k: int, temperature: float) -> None:
    h, w = student()
    bias = torch.linspace(-1, 1, V, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0, 0.25], dtype=torch.float64)
    made = make(teacher_logits(), k, temperature=temperature)  # type: ignore[operator]
    targets = in_float64(made)
    found = distillation_loss(
        h,
        w,
        divergence="forward-kl",
        targets=targets,
        temperature=temperature,
        weights=weights,
        bias=(bias, None),
        softcap=(3.0, None),
        scale=(0.7, 1.0),
        chunk=4,
    )
    ours = torch.autograd.grad(found.total, (h, w, bias))
    logits = 3.0 * torch.tanh(0.7 * (h @ w.T + bias) / 3.0)
    exact = naive(logits, targets)
    theirs = torch.autograd.grad((exact * weights).sum(), (h, w, bias))
    torch.testing.assert_close(
        found.per_token, exact.detach() * (weights > 0), rtol=1e-9, atol=1e-9
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("make", [topk_targets, pps_targets])
def test_all_tokens_kept_is_the_dense_forward_kl(make: object) -> None:
    h, w = student()
    logits = teacher_logits()
    targets = make(logits, V + 3)  # type: ignore[operator]
    found = distillation_loss(h, w, divergence="forward-kl", targets=targets)
    lt, ls = torch.log_softmax(logits, 1), torch.log_softmax(h @ w.T, 1)
    dense = (lt.exp() * (lt - ls)).sum(1)
    torch.testing.assert_close(found.per_token, dense.detach(), rtol=1e-5, atol=1e-6)
    ours = torch.autograd.grad(found.total, h)[0]
    theirs = torch.autograd.grad(dense.sum(), h)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("k", [1, 2, 7, V])
def test_the_expected_sample_is_the_distribution_exactly(k: int, sharpness: float) -> None:
    # The sample changes only where a point meets the end of a token's stretch, so the expectation
    # over the start is a sum over the intervals between such starts.
    p = torch.softmax(teacher_logits(3, sharpness)[:1], 1)
    order = p.argsort(1, descending=True)[:, :k]
    # Points are whole steps apart: with a first sample at 0 they are found from its shares.
    _, shares = pps_sample(p, order, torch.zeros(1, dtype=torch.float64))
    head = int((p.gather(1, order) == shares).sum()) if k > 1 else 0
    ends = p[0].scatter(0, order[0, :head], 0.0).cumsum(0) / shares[0, -1]
    edges = torch.cat([ends % 1.0, torch.tensor([0.0, 1.0])]).sort().values
    starts, lengths = (edges[1:] + edges[:-1]) / 2, edges[1:] - edges[:-1]
    starts, lengths = starts[lengths > 1e-13], lengths[lengths > 1e-13]
    n = len(starts)
    ids, weights = pps_sample(p.expand(n, V), order.expand(n, k), starts)
    mean = torch.zeros(V, dtype=torch.float64)
    mean.scatter_add_(0, ids.flatten(), (weights * lengths[:, None]).flatten())
    torch.testing.assert_close(mean, p[0], rtol=0.0, atol=1e-12)
    torch.testing.assert_close(weights.sum(1), torch.ones(n, dtype=torch.float64))
    drawn = ids.sort(1).values
    assert bool((drawn[:, 1:] != drawn[:, :-1]).all())  # exactly k different tokens


def test_a_hand_made_sample() -> None:
    # k = 2 of (0.6, 0.3, 0.1): 2 x 0.6 > 1, so token 0 is certain and keeps 0.6; one draw from
    # (0.3, 0.1) has weight 0.4 and falls on token 1 for a start below 3/4.
    p = torch.tensor([[0.6, 0.3, 0.1]] * 2, dtype=torch.float64)
    ids, weights = pps_sample(p, torch.tensor([[0, 1]] * 2), torch.tensor([0.7, 0.8]).double())
    assert ids.tolist() == [[0, 1], [0, 2]]
    torch.testing.assert_close(weights, torch.tensor([[0.6, 0.4]] * 2, dtype=torch.float64))


def test_a_tail_of_1e_12_keeps_its_digits() -> None:
    logits = torch.tensor([[30.0, 2.0, 1.0]], dtype=torch.float64)
    found = topk_targets(logits, 1)
    exact = (math.exp(2.0) + math.exp(1.0)) / (math.exp(30.0) + math.exp(2.0) + math.exp(1.0))
    assert float(found.tail_mass) == pytest.approx(exact, rel=1e-6)
    assert float(found.logprobs) == pytest.approx(-exact, rel=1e-6)


def test_ties_are_kept_in_the_order_of_ids_and_a_seed_repeats_a_sample() -> None:
    logits = torch.zeros(2, V)
    assert topk_targets(logits, 3).ids.tolist() == [[0, 1, 2]] * 2
    one, two = (
        pps_targets(teacher_logits(), 5, generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(one.weights, two.weights)


def test_no_position_and_a_student_that_excludes_the_tail() -> None:
    h, w = student()
    none = topk_targets(teacher_logits()[:0], 3)
    nothing = distillation_loss(h[:0], w, divergence="forward-kl", targets=none)
    assert nothing.total.item() == 0.0
    ids = torch.zeros((T, 1), dtype=torch.int64)
    half = torch.full((T, 1), math.log(0.5))
    targets = TopKTargets(ids=ids, logprobs=half, tail_mass=torch.full((T,), 0.5))
    bias = torch.full((V,), float("-inf"), dtype=torch.float64)
    bias[0] = 0.0
    found = distillation_loss(
        h, w, divergence="forward-kl", targets=targets, bias=(bias, None), weights=torch.ones(T)
    )
    assert bool(torch.isfinite(found.per_token).all())
    assert float(found.per_token.min()) > 100.0  # huge, and finite
    assert bool(torch.isfinite(torch.autograd.grad(found.total, h)[0]).all())
