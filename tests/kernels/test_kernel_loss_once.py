"""A loss that is differentiated once gives its gradients away instead of copying them."""

import pytest
import torch

from auditor.errors import InputError
from auditor.kernels import distillation_loss


def tables() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    shapes = [(6, 3), (9, 3), (6, 4), (9, 4)]
    return [torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in shapes]


def loss(once: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    h_s, w_s, h_t, w_t = tables()
    leaves = [h_s.requires_grad_(), w_s.requires_grad_()]
    found = distillation_loss(h_s, w_s, h_t, w_t, divergence="jsd", once=once)
    return found.total * 0.37, leaves


def test_the_gradients_are_the_same() -> None:
    often, once = (torch.autograd.grad(*loss(choice)) for choice in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(often, once, strict=True))


def test_a_gradient_that_exists_is_added_to() -> None:
    total, leaves = loss(once=True)
    leaves[1].grad = torch.ones_like(leaves[1])
    total.backward()
    expected = torch.autograd.grad(*loss(once=False))[1] + 1.0
    assert leaves[1].grad is not None
    assert torch.allclose(leaves[1].grad, expected, rtol=1e-14)


def test_a_second_time_is_refused_and_not_wrong() -> None:
    total, leaves = loss(once=True)
    torch.autograd.grad(total, leaves, retain_graph=True)
    with pytest.raises(InputError, match="differentiated once"):
        torch.autograd.grad(total, leaves)


def test_without_it_a_graph_can_be_used_again() -> None:
    total, leaves = loss(once=False)
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    second = torch.autograd.grad(total, leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
