"""Agreement worked by hand, and what it does with unusual or unusable input."""

import math

import pytest
import torch
from kernel_tables import INF, logit_pair

from auditor.errors import InputError, KernelUnavailableError, VocabularyError
from auditor.kernels import agreement


def test_a_constant_table_has_no_pearson_correlation() -> None:
    a, _ = logit_pair("usual", 3, 1000)
    flat = torch.full_like(a, 7.3)
    for implementation in ("reference", "chunked"):
        assert torch.all(torch.isnan(agreement(a, flat, implementation=implementation).pearson))
        assert torch.all(torch.isnan(agreement(0 * a, a, implementation=implementation).cosine))


def test_two_coins_by_hand() -> None:
    # p = (1/2, 1/2), q = (9/10, 1/10)
    a = torch.tensor([[0.5, 0.5]]).log()
    b = torch.tensor([[0.9, 0.1]]).log()
    found = agreement(a, b, torch.tensor([1]))
    kl_ab = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)  # = 1/2 ln(25/9)
    kl_ba = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    js = 0.5 * (0.5 * math.log(0.5 / 0.7) + 0.5 * math.log(0.5 / 0.3))
    js += 0.5 * (0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.3))
    bc = math.sqrt(0.5 * 0.9) + math.sqrt(0.5 * 0.1)
    assert found.kl_ab.item() == pytest.approx(kl_ab, rel=1e-6)
    assert found.kl_ba.item() == pytest.approx(kl_ba, rel=1e-6)
    assert found.js.item() == pytest.approx(js, rel=1e-6)
    assert found.tv.item() == pytest.approx(0.4, rel=1e-6)
    assert found.log_bc.item() == pytest.approx(math.log(bc), rel=1e-6)
    assert found.hellinger2.item() == pytest.approx(1 - bc, rel=1e-6)
    assert found.entropy_a.item() == pytest.approx(math.log(2), rel=1e-6)
    assert found.logp_b.item() == pytest.approx(math.log(0.1), rel=1e-6)
    assert (found.rank_a.item(), found.ties_a.item()) == (1, 1)  # level with the other side
    assert (found.rank_b.item(), found.ties_b.item()) == (2, 0)


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
def test_tokens_impossible_for_one_side_only(implementation: str) -> None:
    # p = (1/2, 1/2, 0, 0), q = (1/2, 0, 1/2, 0): half of the mass is shared.
    a = torch.tensor([[0.0, 0.0, -INF, -INF]])
    b = torch.tensor([[0.0, -INF, 0.0, -INF]])
    found = agreement(a, b, torch.tensor([1]), implementation=implementation)
    assert found.kl_ab.item() == INF
    assert found.kl_ba.item() == INF
    assert found.tv.item() == pytest.approx(0.5)
    assert found.hellinger2.item() == pytest.approx(0.5)
    # m = (1/2, 1/4, 1/4): JS = 1/2 * 2 * (1/2 ln(1/2 / 1/4)) = 1/2 ln 2
    assert found.js.item() == pytest.approx(0.5 * math.log(2))
    assert found.log_bc.item() == pytest.approx(math.log(0.5))
    assert found.logp_a.item() == pytest.approx(math.log(0.5))
    assert found.logp_b.item() == -INF
    assert (found.rank_b.item(), found.ties_b.item()) == (3, 1)


def test_only_the_side_that_lacks_a_token_makes_its_kl_infinite() -> None:
    # q gives a third to a token that p forbids: KL(p||q) = ln(3/2), KL(q||p) = inf
    a, b = torch.tensor([[0.0, 0.0, -INF]]), torch.zeros(1, 3)
    found = agreement(a, b)
    assert found.kl_ab.item() == pytest.approx(math.log(1.5))
    assert found.kl_ba.item() == INF


def test_disjoint_models_are_at_the_bounds() -> None:
    a = torch.tensor([[0.0, -INF], [0.0, -1e4]])
    b = torch.tensor([[-INF, 0.0], [-1e4, 0.0]])
    found = agreement(a, b)
    assert found.js.tolist() == pytest.approx([math.log(2)] * 2)
    assert found.tv.tolist() == [1.0, 1.0]
    assert found.hellinger2.tolist() == [1.0, 1.0]
    assert found.log_bc[0].item() == -INF
    # sqrt(p q) = e^-5000 for both tokens
    assert found.log_bc[1].item() == pytest.approx(math.log(2) - 5000)
    assert found.kl_ab[1].item() == pytest.approx(1e4)


def test_equal_logits_are_ordered_by_id() -> None:
    # a: ids 1 and 3 tie for the top; b: ids 0 and 3. First of a: 1, then 3; of b: 0, then 3.
    a = torch.tensor([[1.0, 2.0, 0.0, 2.0]])
    b = torch.tensor([[5.0, 1.0, 1.0, 5.0]])
    for implementation in ("reference", "chunked"):
        found = agreement(a, b, topk=(1, 2, 3, 9), implementation=implementation)
        assert (found.argmax_a.item(), found.argmax_b.item()) == (1, 0)
        # two: {1, 3} and {0, 3}; three: {1, 3, 0} and {0, 3, 1}; nine is cut to all four ids
        assert found.topk_overlap.tolist() == [pytest.approx([0.0, 0.5, 1.0, 1.0])]
        assert found.rank_argmax_a_in_b.item() == 3


def test_the_lite_tier_leaves_two_pass_fields_out() -> None:
    a, b = logit_pair("usual", 4, 100)
    lite, full = agreement(a, b, tier="lite"), agreement(a, b)
    for name in ("js", "tv", "hellinger2", "rank_argmax_a_in_b", "topk_overlap", "rank_a"):
        assert getattr(lite, name) is None, name
    assert torch.equal(lite.kl_ab, full.kl_ab)
    assert torch.equal(lite.log_bc, full.log_bc)


def test_given_normalisers_are_used() -> None:
    a, b = logit_pair("usual", 4, 100)
    whole = agreement(a, b)
    given = agreement(a, b, lse_a=whole.lse_a, lse_b=whole.lse_b)
    torch.testing.assert_close(given.kl_ab, whole.kl_ab, rtol=1e-5, atol=1e-6)
    halved = agreement(a, b, torch.zeros(4, dtype=torch.int64), lse_a=whole.lse_a + 1.0)
    torch.testing.assert_close(halved.logp_a, a[:, 0] - whole.lse_a - 1.0, rtol=1e-5, atol=1e-5)


def test_no_position_gives_empty_fields() -> None:
    for implementation in ("reference", "chunked"):
        a = torch.zeros(0, 7)
        found = agreement(a, a, torch.zeros(0, dtype=torch.int64), implementation=implementation)
        assert found.kl_ab.shape == (0,)
        assert found.topk_overlap.shape == (0, 4)


def test_arguments_are_not_written_to() -> None:
    a, b = logit_pair("one-sided", 4, 300)
    kept = a.clone(), b.clone()
    agreement(a, b)
    assert torch.equal(a, kept[0])
    assert torch.equal(b, kept[1])


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), r"b\[9\] holds nan"), (INF, r"b\[9\] holds inf")]
)
def test_unusable_logits_are_refused_by_row(
    value: float, message: str, implementation: str
) -> None:
    a, b = logit_pair("usual", 12, 40_000)  # several blocks of rows
    b[9, 77] = value
    with pytest.raises(InputError, match=message):
        agreement(a, b, implementation=implementation)


def test_a_row_without_possible_token_is_refused() -> None:
    a, b = torch.zeros(3, 4), torch.zeros(3, 4)
    a[2] = -INF
    with pytest.raises(InputError, match=r"a\[2\] holds only -inf"):
        agreement(a, b)


def test_tables_that_do_not_fit_are_refused_by_name() -> None:
    a = torch.zeros(3, 4)
    for bad, error, message in (
        (torch.zeros(3, 5), VocabularyError, "4 and 5 ids"),
        (torch.zeros(2, 4), InputError, "3 and 2"),
        (torch.zeros(3, 4, dtype=torch.int64), InputError, "b must be floating point"),
        (torch.zeros(3, 4, dtype=torch.complex64), InputError, "b must be floating point"),
        (torch.zeros(12), InputError, r"b must be \(T, V\)"),
    ):
        with pytest.raises(error, match=message):
            agreement(a, bad)
    with pytest.raises(VocabularyError, match="V = 0"):
        agreement(torch.zeros(3, 0), torch.zeros(3, 0))


def test_other_arguments_that_do_not_fit_are_refused_by_name() -> None:
    a = torch.zeros(3, 4)
    with pytest.raises(InputError, match=r"tokens\[1\] = 4 is outside"):
        agreement(a, a, torch.tensor([0, 4, 0]))
    with pytest.raises(InputError, match=r"tokens must be \(3,\)"):
        agreement(a, a, torch.tensor([0]))
    with pytest.raises(InputError, match="tokens must be integers"):
        agreement(a, a, torch.zeros(3))
    with pytest.raises(InputError, match="lse_a must be"):
        agreement(a, a, lse_a=torch.zeros(2))
    with pytest.raises(InputError, match="tier"):
        agreement(a, a, tier="medium")
    with pytest.raises(InputError, match="topk"):
        agreement(a, a, topk=(0,))
    with pytest.raises(KernelUnavailableError, match="fastest"):
        agreement(a, a, implementation="fastest")
