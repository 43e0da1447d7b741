import math

import numpy as np
import pytest
from measure_positions import topk_of
from measure_worlds import probes

from auditor.collect.topk import UNLISTED
from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._coarse import coarse_divergence
from auditor.measures._run import apply
from auditor.outputs import OutputSet, Pair
from auditor.panel import Control
from auditor.types import Access, ModelRef

GAP = get("divergence-gap")
K = 4


def jsd(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return float(sum((x[x > 0] * np.log(x[x > 0] / m[x > 0])).sum() / 2 for x in (p, q)))


def listed(*shares: list[float], k: int = K):
    """Return top-k rows of (T, V) probabilities, one probe each."""
    with np.errstate(divide="ignore"):
        return topk_of(np.log(np.array(shares, dtype=np.float64))[:, None, :], k)


def test_lists_of_the_whole_vocabulary_give_the_exact_divergence():
    # p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2), m = (3/8, 1/4, 3/8):
    # KL(p || m) = 1/2 ln(4/3) + 1/4 ln(2/3), the other the same by symmetry
    p, q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]
    found = coarse_divergence(listed(p, k=3), listed(q, k=3))
    assert found == pytest.approx([0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3)], abs=1e-7)


def test_lists_without_a_common_token_are_far_apart():
    # p: 0.45, 0.45 on tokens 0, 1 and 0.05 on each of 2, 3; q the other way. Two tokens listed:
    # A = B = 0.9, s = t = 0.1, A B > s t: buckets (0.9, 0.1) and (0.1, 0.9)
    p, q = [0.45, 0.45, 0.05, 0.05], [0.05, 0.05, 0.45, 0.45]
    expected = jsd(np.array([0.9, 0.1]), np.array([0.1, 0.9]))
    found = coarse_divergence(listed(p, k=2), listed(q, k=2))
    assert found == pytest.approx([expected], abs=1e-7)
    assert expected == pytest.approx(jsd(np.array(p), np.array(q)))


def test_tails_that_can_hold_the_others_tokens_tell_nothing():
    # token 0 is common; p lists 1 (0.1), q lists 2 (0.1), tails 0.3: A B = 0.01 < 0.09, so the
    # rest may have been the same: only token 0 (0.6 and 0.6) is compared
    p, q = [0.6, 0.1, 0.0999, 0.2001], [0.6, 0.0999, 0.1, 0.2001]
    a, b = listed(p, k=2), listed(q, k=2)
    a["ids"], b["ids"] = [[0, 1]], [[0, 2]]
    for rows in (a, b):
        rows["logprobs"], rows["tail"] = [np.log([0.6, 0.1])], [0.3]
    assert coarse_divergence(a, b) == pytest.approx([0.0], abs=1e-15)


@pytest.mark.parametrize("k", [1, 3, 8, 15])
def test_never_more_than_the_exact_divergence(k):
    random = np.random.RandomState(k)
    p, q = (random.dirichlet(np.full(15, 0.4), size=200) for _ in range(2))
    bound = coarse_divergence(listed(*p, k=k), listed(*q, k=k))
    exact = np.array([jsd(x, y) for x, y in zip(p, q, strict=True)])
    assert (bound <= exact + 1e-6).all()
    if k == 15:
        np.testing.assert_allclose(bound, exact, atol=1e-6)


def test_the_bound_is_attained_by_some_pair_of_distributions():
    # Spend the tails as the bound does; the exact divergence of that completion is the bound.
    random = np.random.RandomState(7)
    p, q = (random.dirichlet(np.full(12, 0.3), size=60) for _ in range(2))
    a, b = listed(*p), listed(*q)
    for x, y, bound in zip(a, b, coarse_divergence(a, b), strict=True):
        assert jsd(*completed(x, y)) == pytest.approx(bound, abs=1e-6)


def completed(x, y):
    own, other = (dict(zip(r["ids"].tolist(), np.exp(r["logprobs"]), strict=True)) for r in (x, y))
    s, t = float(x["tail"]), float(y["tail"])
    only_x, only_y = [i for i in own if i not in other], [i for i in other if i not in own]
    mass_x, mass_y = sum(own[i] for i in only_x), sum(other[i] for i in only_y)
    p, q = dict(own), dict(other)
    if mass_x * mass_y <= s * t:
        ratio = (mass_y + t) / (mass_x + s)
        spent = ratio * mass_x, mass_y / ratio
    else:
        spent = t, s
    for i in only_x:
        q[i] = spent[0] * own[i] / mass_x
    for i in only_y:
        p[i] = spent[1] * other[i] / mass_y
    p[-1], q[-1] = s - (spent[1] if only_y else 0.0), t - (spent[0] if only_x else 0.0)
    ids = sorted({*p, *q})
    return tuple(np.maximum([z.get(i, 0.0) for i in ids], 0.0) for z in (p, q))


def test_a_model_has_no_divergence_from_itself_and_the_order_is_irrelevant():
    random = np.random.RandomState(8)
    p, q = (listed(*random.dirichlet(np.full(12, 0.5), size=50)) for _ in range(2))
    np.testing.assert_array_equal(coarse_divergence(p, p), np.zeros(50))
    np.testing.assert_allclose(coarse_divergence(p, q), coarse_divergence(q, p), atol=1e-15)


def pair_with(ours, theirs, *controls) -> Pair:
    asked = probes(len(theirs))
    sides = [
        OutputSet(
            subject=name,
            model=ModelRef(spec=f"tiny:{name}", access=Access.TOPK),
            probes=asked,
            topk=rows,
        )
        for name, rows in (("reference", ours), ("suspect", theirs))
    ]
    pool = tuple(
        Control(name=f"c{i}", role="independent", family=f"f{i}", topk=rows)
        for i, rows in enumerate(controls)
    )
    return Pair(reference=sides[0], suspect=sides[1], pool=pool)


P, Q, R = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.8, 0.1, 0.1]


def test_a_worked_example():
    # Two probes. The suspect is (Q, Q), the reference (P, Q), the controls (R, R), (P, R), (R, P);
    # the nearest control has the smallest mean, so it is the second or third: take the divergences
    a, b = jsd(np.array(P), np.array(Q)), jsd(np.array(R), np.array(Q))
    pair = pair_with(*(listed(*rows, k=3) for rows in ((P, Q), (Q, Q), (R, R), (P, R), (R, P))))
    # nearest: (P, R) first of the two equals; gap by probe: (a - a, b - 0)
    np.testing.assert_allclose(GAP(pair), [0.0, b], atol=1e-7)
    assert apply(GAP, pair, seed=0).value == pytest.approx(b / 2, abs=1e-7)
    assert a < b


def test_the_nearest_control_is_one_for_all_probes():
    # On each probe alone another control would be at 0; none is on both.
    a = jsd(np.array(P), np.array(Q))
    pair = pair_with(*(listed(*rows, k=3) for rows in ((Q, Q), (Q, Q), (Q, P), (P, Q), (P, P))))
    assert apply(GAP, pair, seed=0).value == pytest.approx(a / 2, abs=1e-7)


def test_a_suspect_that_is_a_control_is_further_from_the_reference():
    pair = pair_with(*(listed(rows, k=3) for rows in (P, Q, Q, R, R)))
    assert apply(GAP, pair, seed=0).value == pytest.approx(-jsd(np.array(P), np.array(Q)), abs=1e-7)


def test_two_controls_are_too_few():
    rows = listed(P, k=3)
    with pytest.raises(UndefinedError, match=r"2 controls .* 3 are needed"):
        GAP(pair_with(rows, rows, rows, rows))


@pytest.mark.parametrize("side", [0, 1])
def test_too_much_outside_the_lists_is_undefined(side):
    flat, sharp = listed([0.25] * 4, k=1), listed([0.7, 0.1, 0.1, 0.1], k=1)
    sides = [flat, sharp] if side == 0 else [sharp, flat]
    with pytest.raises(UndefinedError, match=r"have 0\.75 of its probability"):
        GAP(pair_with(*sides, *[sharp] * 3))


def test_a_control_at_other_positions_is_left_out():
    near, other = listed(Q, k=3), listed(Q, Q, k=3)
    pair = pair_with(listed(P, k=3), near, *[listed(R, k=3)] * 3, other)
    expected = jsd(np.array(R), np.array(Q)) - jsd(np.array(P), np.array(Q))
    np.testing.assert_allclose(GAP(pair), [expected], atol=1e-7)


def test_a_reference_at_other_positions_is_undefined():
    # Its tokenizer is another; the controls have that of the suspect.
    with pytest.raises(UndefinedError, match="do not list tokens at the same positions"):
        GAP(pair_with(listed(P, P, k=3), listed(Q, k=3), *[listed(R, k=3)] * 3))


def test_a_position_that_is_not_shown_adds_nothing():
    shown, other = listed(P, Q, k=3), listed(Q, P, k=3)
    other["ids"][1], other["logprobs"][1], other["tail"][1] = [-1, -2, -3], UNLISTED, 1.0
    np.testing.assert_allclose(
        coarse_divergence(shown, other), [jsd(np.array(P), np.array(Q)), 0.0], atol=1e-7
    )
