"""The Triton losses on a GPU: the numbers, the bytes and the addresses of the real machine."""

from typing import Any

import pytest
import torch
from triton_loss_cases import KINDS, Case, assert_near

from auditor.errors import KernelUnavailableError
from auditor.kernels import distillation_loss
from auditor.kernels.divergences import Mixture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
ALL = [*KINDS, "cross-entropy"]


@pytest.mark.parametrize("size", [1, 2, 65, 1000, 4097, 32001, 128256])
@pytest.mark.parametrize("kind", ALL)
def test_values_and_gradients_equal_float64_autograd(kind: str, size: int) -> None:
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-7)):
        case = Case(kind, size=size, dtype=dtype)
        found, exact = case.by_triton("cuda"), case.exactly()
        assert_near(found["loss"], exact["loss"], 1e-5)
        assert_near(found["gradient"], exact["gradient"], tolerance)
        assert torch.isnan(found["beyond"]).all()


@pytest.mark.parametrize("flavour", ["peaked", "huge", "impossible for both", "impossible for one"])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_equal_the_chunked_implementation(kind: str, flavour: str) -> None:
    case = Case(kind, flavour, size=5000)
    found, expected = case.by_triton("cuda"), case.by_torch()
    assert_near(found["loss"], expected["loss"], 1e-5)
    assert_near(found["gradient"], expected["gradient"], 1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_twice_the_same_bytes(kind: str) -> None:
    first, second = (Case(kind, size=50257).by_triton("cuda") for _ in range(2))
    for name in ("loss", "gradient"):
        assert torch.equal(first[name], second[name])


def heads(kind: str, implementation: str) -> tuple[Any, list[torch.Tensor]]:
    """Return loss and gradients of a student with 5000 tokens, in chunks that do not fit T."""
    draw = torch.Generator().manual_seed(3)
    h_s, w_s, h_t, w_t = (
        torch.randn(*size, generator=draw).cuda()
        for size in ((300, 64), (5000, 64), (300, 96), (5000, 96))
    )
    labels = torch.randint(0, 5000, (300,), generator=draw).cuda()
    labels[::7] = -100
    options: dict[str, Any] = {"temperature": 4.0, "softcap": (30.0, None), "chunk": 128}
    options |= {"labels": labels} if kind == "cross-entropy" else {"h_t": h_t, "w_t": w_t}
    leaves = [h_s.requires_grad_(), w_s.requires_grad_()]
    found = distillation_loss(h_s, w_s, divergence=kind, implementation=implementation, **options)
    return found, list(torch.autograd.grad(found.total, leaves))


@pytest.mark.parametrize("kind", ALL)
def test_auto_is_triton_and_equals_chunked(kind: str) -> None:
    found, gradients = heads(kind, "auto")
    expected, theirs = heads(kind, "chunked")
    assert (found.implementation, expected.implementation) == ("triton", "chunked")
    assert_near(found.per_token.cpu(), expected.per_token.cpu(), 1e-5)
    for mine, other in zip(gradients, theirs, strict=True):
        assert_near(mine.cpu(), other.cpu(), 1e-5)


def test_rows_further_apart_than_two_to_the_31_elements() -> None:
    from auditor.kernels.triton.losses import RowLoss

    stride = 2**31 + 16
    if torch.cuda.mem_get_info()[0] < 2 * stride + 2**30:
        pytest.skip("needs 5.3 GB of free GPU memory")
    far = torch.empty(stride + 1000, dtype=torch.bfloat16, device="cuda")
    student = far.as_strided((2, 1000), (stride, 1))
    near = torch.randn(2, 1000, device="cuda").to(torch.bfloat16)
    student.copy_(near)
    teacher = torch.randn(2, 1000, device="cuda")
    rates = torch.ones(2, device="cuda")
    loss = RowLoss(mixture=Mixture("jsd", 0.5), tau=1.0, softcap=None, with_gradient=True)
    assert torch.equal(
        loss.divergence(student, teacher, rates), loss.divergence(near, teacher, rates)
    )
    assert torch.equal(student, near)


def test_float64_is_refused_by_name() -> None:
    h, w = torch.randn(2, 3, device="cuda").double(), torch.randn(5, 3, device="cuda").double()
    with pytest.raises(KernelUnavailableError, match="float64"):
        distillation_loss(h, w, h, w, divergence="jsd", implementation="triton")
    assert distillation_loss(h, w, h, w, divergence="jsd").implementation == "chunked"
