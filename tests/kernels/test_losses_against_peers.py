"""Our losses beside those of trl and liger-kernel (extra `bench`): equal, or a named difference."""

import math
from typing import Any

import pytest
import torch

from auditor.kernels import distillation_loss

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own
T, V = 7, 13


def tables() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(8)
    shapes = [(T, 5), (V, 5), (T, 6), (V, 6)]
    return [torch.randn(*shape, generator=draw) for shape in shapes]


def ours(divergence: str, **options: Any) -> tuple[float, list[torch.Tensor]]:
    h_s, w_s, h_t, w_t = tables()
    leaves = [h_s.requires_grad_(), w_s.requires_grad_()]
    total = distillation_loss(h_s, w_s, h_t, w_t, divergence=divergence, **options).total
    return float(total.detach()), list(torch.autograd.grad(total, leaves))


@pytest.fixture
def gkd() -> Any:
    pytest.importorskip("trl", reason="trl is in the extra bench")
    from trl.experimental.gkd import GKDTrainer

    return GKDTrainer.generalized_jsd_loss


def theirs(gkd: Any, **options: Any) -> tuple[float, list[torch.Tensor]]:
    h_s, w_s, h_t, w_t = tables()
    leaves = [h_s.requires_grad_(), w_s.requires_grad_()]
    total = gkd(h_s @ w_s.T, h_t @ w_t.T, reduction="sum", **options)
    return float(total.detach()), list(torch.autograd.grad(total, leaves))


PAIRS = [("forward-kl", 0.0), ("reverse-kl", 1.0), ("jsd", 0.5), ("jsd", 0.2), ("jsd", 0.9)]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(("divergence", "beta"), PAIRS)
def test_trl_gives_the_same(gkd: Any, divergence: str, beta: float, temperature: float) -> None:
    own = {"beta": beta} if divergence == "jsd" else {}
    value, gradients = ours(divergence, temperature=temperature, **own)
    expected, others = theirs(gkd, beta=beta, temperature=temperature)
    assert value == pytest.approx(expected, rel=2e-5)
    for found, other in zip(gradients, others, strict=True):
        assert torch.allclose(found, other, rtol=1e-4, atol=1e-6)


def test_trl_has_no_number_where_the_teacher_rules_a_token_out(gkd: Any) -> None:
    draw = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(3, V, generator=draw) for _ in range(2))
    teacher[:, 4] = -math.inf
    eye = torch.eye(V)
    for divergence, beta in (("forward-kl", 0.0), ("jsd", 0.5)):
        assert math.isnan(float(gkd(student, teacher, beta=beta, reduction="sum")))
        # As hidden states under the identity, a finite stand-in for -inf: 0 * inf is no number.
        ruled_out = teacher.clamp_min(-1e4)
        found = distillation_loss(student, eye, ruled_out, eye, divergence=divergence)
        assert math.isfinite(float(found.total))


def test_trl_jsd_does_not_tend_to_the_kl_and_ours_can(gkd: Any) -> None:
    small = 1e-4
    plain, _ = theirs(gkd, beta=small)
    limit, _ = ours("forward-kl")
    value, _ = ours("jsd", beta=small, normalise=True)
    assert plain < 0.001 * limit
    assert value == pytest.approx(limit, rel=0.02)


@pytest.mark.parametrize("beta", [0.3, 0.5])
def test_liger_gives_the_same_jsd_as_a_mean(beta: float) -> None:
    pytest.importorskip("liger_kernel", reason="liger-kernel is in the extra bench")
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    h_s, w_s, h_t, w_t = tables()
    leaves = [h_s.requires_grad_(), w_s.requires_grad_()]
    loss = LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=beta, compiled=False
    )
    mean = loss(h_s, w_s, h_t, w_t, torch.zeros(T, dtype=torch.int64))
    others = torch.autograd.grad(mean, leaves)
    value, gradients = ours("jsd", beta=beta)
    assert value / T == pytest.approx(float(mean.detach()), rel=2e-5)
    for found, other in zip(gradients, others, strict=True):
        assert torch.allclose(found / T, other, rtol=1e-4, atol=1e-6)
