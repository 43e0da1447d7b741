"""Hand-worked values of the distribution measures."""

import math

import numpy as np
import pytest
from measure_worlds import T, logits, pair_of, positions_of, small_pair, subject

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.outputs import POSITION

FAIR, BIASED, SURE = [0.5, 0.5], [0.9, 0.1], [1.0, 0.0]


def value(name, *rows):
    """The measure on one pair of distributions a probe: (p, q), (p, q), ..."""
    p, q = zip(*rows, strict=True)
    return get(name)(small_pair(positions=positions_of(logits(*p), logits(*q))))


def test_forward_kl_of_a_fair_coin_coded_as_biased():
    # 1/2 ln(0.5/0.9) + 1/2 ln(0.5/0.1) = 1/2 ln(25/9)
    assert value("logit-kl-forward", (FAIR, BIASED)) == pytest.approx([0.5 * math.log(25 / 9)])


def test_reverse_kl_of_a_fair_coin_coded_as_biased():
    # 0.9 ln(0.9/0.5) + 0.1 ln(0.1/0.5)
    expected = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    assert value("logit-kl-reverse", (FAIR, BIASED)) == pytest.approx([expected])


def test_a_suspect_that_is_too_sure_makes_forward_kl_undefined_and_leaves_reverse_finite():
    # Suspect (1, 0): it excludes token 1, which the fair reference allows. KL(q||p) = ln 2.
    rows = [(FAIR, SURE), (FAIR, FAIR)]
    with pytest.raises(UndefinedError, match="at 1 of 2 positions the suspect excludes"):
        value("logit-kl-forward", *rows)
    assert value("logit-kl-reverse", *rows) == pytest.approx([math.log(2), 0.0])


def test_a_reference_that_is_too_sure_makes_reverse_kl_undefined_and_leaves_forward_finite():
    rows = [(SURE, FAIR), (FAIR, FAIR)]
    with pytest.raises(UndefinedError, match="at 1 of 2 positions the reference excludes"):
        value("logit-kl-reverse", *rows)
    assert value("logit-kl-forward", *rows) == pytest.approx([math.log(2), 0.0])


def test_an_infinite_divergence_becomes_an_undefined_measurement():
    pair = small_pair(positions=positions_of(logits(FAIR), logits(SURE)))
    found = apply(get("logit-kl-forward"), pair, seed=0)
    assert (found.value, found.probes) == (None, 0)
    assert "at 1 of 1 positions" in found.undefined


def test_a_token_impossible_for_both_costs_nothing():
    # Third token has probability 0 in both; the rest is the coin above.
    found = value("logit-kl-forward", ([*FAIR, 0.0], [*BIASED, 0.0]))
    assert found == pytest.approx([0.5 * math.log(25 / 9)])


def test_js_of_a_fair_and_a_sure_coin():
    # m = (3/4, 1/4): KL(fair||m) = 1/2 ln(2/3) + 1/2 ln 2, KL(sure||m) = ln(4/3)
    expected = 0.5 * (0.5 * math.log(2 / 3) + 0.5 * math.log(2) + math.log(4 / 3))
    assert value("logit-js", (FAIR, SURE)) == pytest.approx([expected])


def test_js_of_models_that_share_no_token_is_ln_2():
    assert value("logit-js", (SURE, SURE[::-1])) == pytest.approx([math.log(2)], abs=1e-15)


def test_rounding_above_a_limit_is_cut():
    rows = np.zeros(1, dtype=POSITION)
    rows["js"], rows["tv"], rows["hellinger2"] = math.log(2) + 1e-7, 1 + 1e-7, 1 + 1e-7
    pair = small_pair(positions=rows)
    assert get("logit-js")(pair) == [math.log(2)]
    assert get("logit-tv")(pair) == get("logit-hellinger")(pair) == [1.0]


def test_total_variation_is_the_mass_to_move():
    # |0.5 - 0.9| = 0.4 must move; disjoint models: everything
    assert value("logit-tv", (FAIR, BIASED), (SURE, SURE[::-1])) == pytest.approx([0.4, 1.0])


def test_hellinger_of_a_fair_and_a_sure_coin():
    # H^2 = 1 - sum sqrt(p q) = 1 - sqrt(1/2); disjoint models: 1
    expected = [math.sqrt(1 - math.sqrt(0.5)), 1.0]
    assert value("logit-hellinger", (FAIR, SURE), (SURE, SURE[::-1])) == pytest.approx(expected)


def test_hellinger_is_the_mean_of_distances_not_the_root_of_the_mean():
    rows = np.zeros(2, dtype=POSITION)  # two positions of one probe, H = 0 and H = 1
    rows["hellinger2"] = [0.0, 1.0]
    assert get("logit-hellinger")(small_pair(positions=rows)) == [0.5]


def test_top1_counts_equal_first_choices():
    rows = [([0.2, 0.7, 0.1], [0.3, 0.6, 0.1]), ([0.2, 0.7, 0.1], [0.6, 0.3, 0.1])]
    assert list(value("logit-top1", *rows)) == [1.0, 0.0]


def test_top1_of_a_flat_model_takes_the_lowest_id():
    assert list(value("logit-top1", (FAIR, SURE), (FAIR, SURE[::-1]))) == [1.0, 0.0]


def test_topk_overlap_of_shifted_top_tens():
    # The reference prefers ids 0..9, the suspect 3..12: ids 3..9 are common, 7 of 10.
    p, q = np.full(40, 1.0), np.full(40, 1.0)
    p[0:10], q[3:13] = 9.0, 9.0
    assert value("logit-topk-overlap", (list(p), list(q))) == pytest.approx([0.7])


def test_topk_overlap_of_ten_tokens_says_nothing():
    p = list(range(1, 11))
    assert value("logit-topk-overlap", (p, p[::-1])) == [1.0]


def test_reciprocal_rank_of_the_references_choice():
    # The reference chooses id 0; the suspect puts it first, second, fourth.
    p = [0.7, 0.1, 0.1, 0.1]
    ranked = [[0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]
    assert value("logit-rank", *[(p, q) for q in ranked]) == pytest.approx([1, 1 / 2, 1 / 4])


def test_reciprocal_rank_in_a_flat_suspect_takes_the_best_case():
    assert value("logit-rank", ([0.1, 0.9], FAIR)) == [1.0]


def test_positions_are_averaged_within_probes_first():
    # Probe 0 has one position (tv 1), probe 1 three (tv 0, 0, 0.6): 1 and 0.2, mean 0.6.
    rows = np.zeros(4, dtype=POSITION)
    rows["probe"], rows["tv"] = [0, 1, 1, 1], [1.0, 0.0, 0.0, 0.6]
    pair = small_pair(positions=rows)
    assert get("logit-tv")(pair) == pytest.approx([1.0, 0.2])
    assert apply(get("logit-tv"), pair, seed=0).value == pytest.approx(0.6)


def test_a_probe_without_positions_does_not_count():
    rows = np.zeros(2, dtype=POSITION)
    rows["probe"], rows["tv"] = [0, 2], [0.2, 0.4]  # nothing for probe 1
    assert np.isnan(get("logit-tv")(small_pair(positions=rows))[1])
    found = apply(get("logit-tv"), small_pair(positions=rows), seed=0)
    assert found.value == pytest.approx(0.3)
    assert found.probes == 2


def test_the_kernel_fills_the_columns_as_these_measures_read_them():
    import torch

    from auditor.kernels import agreement

    a, b = subject("alpha", 1), subject("beta", 2)
    expected = pair_of(a, b).positions
    tables = (torch.from_numpy(one.logits.reshape(len(expected), -1)) for one in (a, b))
    found = agreement(*tables, implementation="reference")
    assert len(expected) == len(a.logits) * T
    for name in ("kl_ab", "kl_ba", "js", "tv", "hellinger2", "topk_overlap"):
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-9, err_msg=name)
    for name in ("argmax_a", "argmax_b", "rank_argmax_a_in_b"):
        np.testing.assert_array_equal(getattr(found, name), expected[name], err_msg=name)
