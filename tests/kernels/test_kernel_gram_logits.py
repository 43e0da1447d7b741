"""Cosine and Pearson from Grams against the logits themselves."""

import pytest
import torch

from auditor.errors import InputError, VocabularyError
from auditor.kernels import LogitGrams, agreement, cosine_gram_logits

T, V = 7, 5000


def heads(seed: int = 0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = ((T, 12), (V, 12), (T, 9), (V, 9), (V,), (V,))
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("biased", [False, True])
def test_the_logits_give_the_same_in_float64(biased: bool) -> None:
    h_a, w_a, h_b, w_b, bias_a, bias_b = heads()
    bias = (bias_a + 3.0, bias_b) if biased else (None, None)
    a, b = h_a @ w_a.T, h_b @ w_b.T
    if biased:
        a, b = a + bias_a + 3.0, b + bias_b
    found = cosine_gram_logits(h_a, w_a, h_b, w_b, bias=bias)
    exact = agreement(a, b, implementation="reference")
    torch.testing.assert_close(found.cosine, exact.cosine, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(found.pearson, exact.pearson, rtol=0.0, atol=1e-12)


def test_grams_are_kept_for_many_batches_in_any_type() -> None:
    h_a, w_a, h_b, w_b, *_ = (table.float() for table in heads(1))
    grams = LogitGrams.of(w_a, w_b)
    halves = [grams.cosines(h_a[part], h_b[part]).pearson for part in (slice(3), slice(3, None))]
    whole = cosine_gram_logits(h_a, w_a, h_b, w_b).pearson
    torch.testing.assert_close(torch.cat(halves), whole, rtol=0.0, atol=1e-14)
    logits = (h_a.double() @ w_a.double().T, h_b.double() @ w_b.double().T)
    exact = agreement(*logits, implementation="reference").pearson
    torch.testing.assert_close(whole, exact, rtol=0.0, atol=1e-12)


def test_a_side_without_spread_has_no_correlation() -> None:
    h_a, w_a, h_b, w_b, *_ = heads()
    silent = cosine_gram_logits(h_a * 0.0, w_a, h_b, w_b)
    assert bool(silent.cosine.isnan().all())
    flat = cosine_gram_logits(h_a, torch.ones_like(w_a), h_b, w_b)
    assert bool(flat.pearson.isnan().all())
    assert bool(flat.cosine.isfinite().all())


def test_bad_input_is_named() -> None:
    h_a, w_a, h_b, w_b, *_ = heads()
    with pytest.raises(InputError, match="softcap"):
        cosine_gram_logits(h_a, w_a, h_b, w_b, softcap=(30.0, None))
    with pytest.raises(InputError, match="h_a has 7 positions and h_b 6"):
        cosine_gram_logits(h_a, w_a, h_b[1:], w_b)
    with pytest.raises(VocabularyError, match="w_a has 5000 token ids and w_b 4999"):
        cosine_gram_logits(h_a, w_a, h_b, w_b[1:])
    with pytest.raises(InputError, match="h_b has width 9 and w_b reads 8"):
        cosine_gram_logits(h_a, w_a, h_b, w_b[:, 1:])
