"""The chunked agreement kernel against the float64 reference, and the laws both must obey."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_tables import (
    IMPOSSIBLE,
    INF,
    PATTERNS,
    assert_same_agreement,
    logit_pair,
    tokens_for,
)

from auditor.kernels import Agreement, agreement


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("pattern", PATTERNS + IMPOSSIBLE)
def test_chunked_equals_the_reference(pattern: str, dtype: torch.dtype) -> None:
    for positions, vocabulary in ((1, 1), (7, 2), (8, 63), (7, 64), (1, 65), (8, 1000), (7, 4097)):
        if pattern in IMPOSSIBLE and vocabulary < 3:
            continue  # no possible token would be left
        a, b = (
            table.clamp(max=6e4).to(dtype)  # float16 ends at 65504
            for table in logit_pair(pattern, positions, vocabulary)
        )
        tokens = tokens_for(a)
        exact = agreement(a, b, tokens, implementation="reference")
        assert_same_agreement(agreement(a, b, tokens, implementation="chunked"), exact)


def test_a_vocabulary_that_is_no_multiple_of_any_block() -> None:
    a, b = logit_pair("usual", 9, 32_001)  # nine rows: two blocks of rows
    tokens = tokens_for(a)
    exact = agreement(a, b, tokens, implementation="reference")
    assert_same_agreement(agreement(a, b, tokens), exact)


@pytest.mark.parametrize(
    ("noise", "size", "loosen"),
    [(1.3, 8.5e-1, 0.2), (1e-2, 5e-5, 0.2), (1e-3, 5e-7, 0.5), (1e-4, 5e-9, 10)],
)
def test_nearly_identical_models_keep_their_digits(
    noise: float, size: float, loosen: float
) -> None:
    # kernels.md 2.3: KL of noise sd e is about e^2 / 2. Naive float32 formulas lose all digits.
    draw = torch.Generator().manual_seed(3)
    a = 3 * torch.randn(4, 32_000, generator=draw)
    b = a + noise * torch.randn(4, 32_000, generator=draw)
    exact = agreement(a, b, implementation="reference")
    assert exact.kl_ab.mean().item() == pytest.approx(size, rel=0.3)
    assert_same_agreement(agreement(a, b), exact, loosen)


@pytest.mark.parametrize("size", [0.01, 0.1, 0.3, 0.34, 0.4, 1.0, 5.0])
def test_every_size_of_log_ratio_is_summed_right(size: float) -> None:
    # Log ratios are +-size + ln cosh(size), so that no term of a series hides behind larger ones:
    # 0.34 puts half of them at 0.397, just inside the series.
    draw = torch.Generator().manual_seed(9)
    a = torch.randn(4, 3000, generator=draw)
    flips = torch.where(torch.rand(4, 3000, generator=draw) < 0.5, size, -size)
    b = a + flips
    exact = agreement(a, b, implementation="reference")
    assert_same_agreement(agreement(a, b), exact, loosen=0.3)


def test_a_small_spread_far_from_zero_keeps_its_correlation() -> None:
    a, b = logit_pair("usual", 3, 1000)
    a, b = 1e4 + 0.01 * a, b - 1e4  # float32 steps are 0.001 there
    exact = agreement(a, b, implementation="reference")
    torch.testing.assert_close(agreement(a, b).pearson.double(), exact.pearson, rtol=1e-6, atol=0)


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
@pytest.mark.parametrize("pattern", [*PATTERNS, "two-sided"])
def test_equal_logits_have_exactly_no_divergence(pattern: str, implementation: str) -> None:
    a, _ = logit_pair(pattern, 5, 1000)
    found = agreement(a, a.clone(), tokens_for(a), implementation=implementation)
    for name in ("kl_ab", "kl_ba", "js", "tv", "hellinger2"):
        assert torch.equal(getattr(found, name), torch.zeros_like(found.kl_ab)), name
    assert torch.all(found.topk_overlap == 1.0)
    assert torch.all(found.rank_argmax_a_in_b == 1)
    assert found.log_bc.abs().max() < 1e-6


def test_repeated_runs_give_the_same_bytes() -> None:
    a, b = logit_pair("usual", 60, 5001)  # two blocks of rows
    first, second = agreement(a, b, tokens_for(a)), agreement(a, b, tokens_for(a))
    for field in fields(Agreement):
        if field.name != "implementation":
            assert torch.equal(getattr(first, field.name), getattr(second, field.name)), field.name


def test_strided_and_expanded_tables_are_read_right() -> None:
    a, b = logit_pair("usual", 6, 500)
    plain = agreement(a, b, tokens_for(a))
    wide = torch.full((6, 1000), float("nan"))
    wide[:, ::2] = a
    assert_same_agreement(
        agreement(wide[:, ::2], b.T.contiguous().T, tokens_for(a)), _double(plain)
    )
    row = a[:1].expand(6, -1)
    assert torch.equal(agreement(row, b).kl_ab, agreement(row.contiguous(), b).kl_ab)


def _double(found: Agreement) -> Agreement:
    values = {f.name: getattr(found, f.name) for f in fields(Agreement)}
    wide = {
        name: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
        for name, v in values.items()
    }
    return Agreement(**wide)


def test_one_impossible_row_leaves_the_others_as_they_were() -> None:
    a, b = logit_pair("usual", 6, 300)
    before = agreement(a, b)
    a[1, 5] = -INF
    after = agreement(a, b)
    assert after.kl_ba[1].item() == INF
    others = [0, 2, 3, 4, 5]
    for name in ("kl_ab", "js", "entropy_a", "cosine", "topk_overlap"):
        assert torch.equal(getattr(after, name)[others], getattr(before, name)[others]), name


shapes = st.tuples(st.integers(1, 4), st.integers(1, 90), st.integers(0, 2**20))


@given(shapes, st.floats(0.001, 20.0), st.floats(-30.0, 30.0))
@settings(max_examples=15, deadline=None)
def test_laws_of_divergences(shape: tuple[int, int, int], scale: float, offset: float) -> None:
    positions, vocabulary, seed = shape
    a, b = logit_pair("usual", positions, vocabulary, seed)
    b = scale * b
    found, back = agreement(a, b), agreement(b, a)
    for name in ("js", "tv", "hellinger2"):  # symmetric
        torch.testing.assert_close(getattr(found, name), getattr(back, name), rtol=5e-6, atol=1e-7)
    torch.testing.assert_close(found.kl_ab, back.kl_ba, rtol=5e-6, atol=1e-7)
    assert torch.all(found.kl_ab >= 0)
    assert torch.all(found.tv <= (found.kl_ab / 2).sqrt() + 1e-6)  # Pinsker
    assert torch.all(found.hellinger2 <= found.tv + 1e-6)
    assert torch.all(found.tv <= (2 * found.hellinger2).sqrt() + 1e-6)
    moved = agreement(a + offset, b - 2 * offset)  # softmax does not see shifts
    torch.testing.assert_close(moved.kl_ab, found.kl_ab, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(moved.entropy_b, found.entropy_b, rtol=1e-3, atol=1e-5)
    order = torch.randperm(vocabulary, generator=torch.Generator().manual_seed(seed))
    mixed = agreement(a[:, order], b[:, order])
    torch.testing.assert_close(mixed.js, found.js, rtol=5e-6, atol=1e-7)
    torch.testing.assert_close(mixed.topk_overlap, found.topk_overlap, rtol=0, atol=0)
