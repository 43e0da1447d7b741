"""The product x w^T: against float64, on every layout, with the same bits wherever it lies."""

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from auditor.kernels import products
from auditor.kernels.products import Products, add_outer_products, add_product, product

UNIT = 2.0**-24
"""Rounding of one float32 operation."""


def table(rows: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=stream, dtype=torch.float64).to(dtype)


def rms(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).square().mean().sqrt())


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(
    ("rows", "others", "width"),
    [
        (64, 65_536, 1),
        (64, 257, 255),
        (64, 256, 256),
        (65, 1023, 257),
        (100, 1024, 513),
        (64, 1025, 576),
        (70, 2049, 1000),
        (1, 1025, 576),
        (3, 5, 7),
        (64, 1, 70_000),
    ],
)
def test_products_equal_those_of_float64(
    rows: int, others: int, width: int, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not onednn:
        monkeypatch.setattr(products, "_works", lambda: False)
    x, w = table(rows, width), table(others, width, 1)
    found = product(x, w)
    # |error| <= K u sum |x| |w|, whatever the order of the sum (Higham 2002, eq. 3.3)
    bound = width * UNIT * (x.double().abs() @ w.double().abs().T)
    assert found.dtype == torch.float32
    assert bool(((found - x.double() @ w.double().T).abs() <= bound).all())


def test_it_is_onednn_that_multiplies_large_tables() -> None:
    if not products._works():
        pytest.skip("this torch has no oneDNN")

    def calls(rows: int) -> bool:
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            product(table(rows, 256), table(256, 256, 1))
        return any("mkldnn::" in event.key for event in seen.key_averages())

    assert calls(64)
    assert not calls(63)


def test_long_sums_lose_no_more_than_those_of_torch() -> None:
    x, w = table(64, 4096), table(512, 4096, 1)
    truth = x.double() @ w.double().T
    assert rms(product(x, w), truth) <= 1.3 * rms(x @ w.T, truth)


@pytest.mark.parametrize("shift", [1, 3, 16])
def test_bits_do_not_depend_on_the_memory(shift: int) -> None:
    x, w = table(80, 300), table(1500, 300, 1)
    moved = torch.empty(w.numel() + shift)[shift:].view_as(w).copy_(w)
    wide = torch.empty(1500, 301 + shift)[:, shift : 300 + shift].copy_(w)
    expected = product(x, w)
    assert torch.equal(product(x, moved), expected)
    assert torch.equal(product(x, wide), expected)
    assert torch.equal(product(x.T.contiguous().T, w), expected)
    assert torch.equal(product(x, w), expected)


def test_the_result_goes_into_a_part_of_a_table() -> None:
    x, w = table(64, 300), table(1100, 300, 1)
    whole = torch.full((64, 1200), 7.0)
    left = Products(x)
    left.into(whole[:, 50:1150], w)
    assert torch.equal(whole[:, 50:1150], product(x, w))
    assert bool((whole[:, :50] == 7.0).all())
    assert bool((whole[:, 1150:] == 7.0).all())


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(
    ("rows", "width", "others"), [(64, 1100, 70), (512, 1025, 130), (300, 5000, 300), (3, 4, 5)]
)
def test_sums_of_products_equal_those_of_float64(
    rows: int, width: int, others: int, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not onednn:
        monkeypatch.setattr(products, "_works", lambda: False)
    x, w, y = table(rows, width), table(width, others, 1), table(rows, others, 2)
    left, outer = table(rows, others, 3), table(width, others, 4)
    truth = left.double() + x.double() @ w.double(), outer.double() + x.double().T @ y.double()
    add_product(left, x, w.T)
    add_outer_products(outer, x, y)
    # Relative to the spread of such sums, sqrt(length). How MKL sums depends on the processor: it
    # was seen at up to 3.6e-7.
    most = 3e-7 if onednn else 6e-7
    assert rms(left, truth[0]) < most * width**0.5
    assert rms(outer, truth[1]) < most * rows**0.5 + 1e-7
    assert float((outer.double() - truth[1]).abs().max()) < 1e-4


def test_float64_stays_float64() -> None:
    x, w = table(64, 300, dtype=torch.float64), table(300, 300, 1, torch.float64)
    torch.testing.assert_close(product(x, w), x @ w.T, rtol=1e-12, atol=1e-12)


def test_an_outer_autocast_does_not_round_the_product() -> None:
    x, w = table(64, 300), table(300, 300, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = product(x, w)
    assert found.dtype == torch.float32
    assert rms(found, x.double() @ w.double().T) < 1e-5


@pytest.mark.parametrize("side", ["x", "w"])
def test_a_derivative_is_refused_not_dropped(side: str) -> None:
    x, w = table(64, 300), table(300, 300, 1)
    (x if side == "x" else w).requires_grad_()
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        product(x, w)
    with torch.no_grad():
        product(x, w)


@pytest.mark.parametrize("empty", [(0, 5, 300), (64, 0, 300), (64, 300, 0)])
def test_empty_tables(empty: tuple[int, int, int]) -> None:
    rows, others, width = empty
    found = product(torch.ones(rows, width), torch.ones(others, width))
    assert found.shape == (rows, others)
    assert bool((found == 0.0).all())


def test_infinite_and_nan_entries_stay_what_they_are() -> None:
    x, w = table(64, 300), table(300, 300, 1)
    x[3, 290], w[5, 0], w[6, 7] = float("inf"), float("nan"), float("-inf")
    found, expected = product(x, w), x.double() @ w.double().T
    assert torch.equal(torch.isnan(found), torch.isnan(expected))
    assert torch.equal(torch.isinf(found), torch.isinf(expected))
