"""Hand-worked values of CKA and mutual neighbours, on embeddings and on hidden states."""

import numpy as np
import pytest
from measure_worlds import small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._cka import debiased_cka, subset_cka
from auditor.measures._run import apply

CKA, NEIGHBOURS = ["embedding-cka", "hidden-cka"], ["embedding-mutual-knn", "hidden-mutual-knn"]


def pair_for(name, x, y):
    """A pair whose representation of probe i is row i of x and y; replies have one repeat."""
    x, y = (np.array(rows, dtype=np.float64) for rows in (x, y))
    if name.startswith("hidden"):
        return small_pair(hidden=(x, y))
    return small_pair(embeddings=(x[:, None], y[:, None]))


def test_debiased_cka_of_four_points_by_hand():
    # n = 4: HSIC1 = [tr KL + 1K1 1L1/6 - 1KL1]/4. With x = (1,-1,0,0) only K_12 = -1.
    # y = (0,0,1,-1): tr = 0, 1K1 1L1 = 4, 1KL1 = 0: 1/6. Own: (2 + 4/6 - 2)/4 = 1/6. CKA = 1.
    # y = (1,0,-1,0): tr = 0, 1K1 1L1 = 4, 1KL1 = 1: -1/12. CKA = -1/2.
    x = np.array([[1.0], [-1.0], [0.0], [0.0]])
    assert debiased_cka(x, x[[2, 3, 0, 1]]) == pytest.approx(1.0)
    assert debiased_cka(x, x[[0, 2, 1, 3]]) == pytest.approx(-0.5)


def test_hidden_cka_of_four_points_by_hand():
    x = [[1.0], [-1.0], [0.1], [-0.1]]  # rows of zeros would be missing
    y = [[1.0], [0.1], [-1.0], [-0.1]]
    # K has K_12 = -1, K_34 = -0.01, K_13 = 0.1, K_14 = -0.1, K_23 = -0.1, K_24 = 0.1: row sums
    # (-1, -1, -0.01, -0.01), 1K1 = -2.02; L is K with 2 and 3 swapped: row sums
    # (-1, -0.01, -1, -0.01), 1L1 = -2.02.
    # tr KL = 2 (-0.1 + 0.001 - 0.1 + 0.01 ... by pairs 12: -1*0.1, 13: 0.1*-1, 14: 0.01,
    #            23: 0.01, 24: 0.1*-0.01, 34: -0.01*0.1) = 2 (-0.2 + 0.02 - 0.002) = -0.364
    # 1KL1 = 1 + 0.01 + 0.01 + 0.0001 = 1.0201;  HSIC = (-0.364 + 4.0804/6 - 1.0201)/4
    # own: tr KK = 2 (1 + 0.0001 + 0.04) = 2.0802, 1KK1 = 2.0002
    cross = -0.364 + 4.0804 / 6 - 1.0201
    own = 2.0802 + 4.0804 / 6 - 2.0002
    assert get("hidden-cka")(pair_for("hidden", x, y)) == pytest.approx(cross / own)


@pytest.mark.parametrize("name", CKA)
def test_cka_ignores_rotation_and_the_width_of_the_states(name):
    random = np.random.RandomState(0)
    x = random.normal(size=(12, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0][:3]  # (3, 5), orthonormal rows
    turned = x @ rotation
    turned = (
        turned if name.startswith("hidden") else x @ np.linalg.qr(random.normal(size=(3, 3)))[0]
    )
    assert get(name)(pair_for(name, x, turned)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", CKA)
def test_cka_is_undefined_for_few_probes_and_for_constant_replies(name):
    random = np.random.RandomState(0)
    x = random.normal(size=(5, 3))
    with pytest.raises(UndefinedError, match="at least 4"):
        get(name)(pair_for(name, x[:3], x[:3]))
    constant = np.tile([0.3, 0.4, 0.1], (5, 1))
    with pytest.raises(UndefinedError, match="the suspect is the same for all 5 probes"):
        get(name)(pair_for(name, x, constant))


def test_cka_is_undefined_where_one_probe_alone_differs():
    # The off-diagonal Gram matrix is then a row plus a column, which U-centring takes away whole.
    x = np.random.RandomState(0).normal(size=(20, 3))
    for differs in range(20):
        y = np.tile([0.3, 0.4, 0.1], (20, 1))
        y[differs] = [1.0, 0.2, 0.0]
        with pytest.raises(UndefinedError, match="or all but 1"):
            debiased_cka(x, y)


def test_cka_of_unrelated_states_is_near_0_though_they_are_wide():
    # Biased CKA of independent Gaussians would be 0.96 at n = 40, D = 1000.
    random = np.random.RandomState(0)
    x, y = random.normal(size=(2, 40, 1000))
    assert abs(debiased_cka(x, y)) < 0.1


def test_cka_on_subsets_is_cka_of_the_subset():
    random = np.random.RandomState(1)
    x, y = random.normal(size=(30, 4)), random.normal(size=(30, 7))
    y[:, :2] += x[:, :2]
    chosen = random.random_sample((5, 30)) < 0.5
    expected = [debiased_cka(x[row], y[row]) for row in chosen]
    assert subset_cka(x, y, chosen) == pytest.approx(expected)


def test_cka_on_subsets_does_not_depend_on_the_block_size(monkeypatch):
    import auditor.measures._cka as module

    random = np.random.RandomState(1)
    x, y = random.normal(size=(2, 30, 4))
    chosen = random.random_sample((5, 30)) < 0.5
    whole = subset_cka(x, y, chosen)
    monkeypatch.setattr(module, "_ROWS", 7)
    monkeypatch.setattr(module, "_CELLS", 60)
    monkeypatch.setattr(module, "_FEWEST_ROWS", 2)
    assert subset_cka(x, y, chosen) == pytest.approx(whole, rel=1e-10)


def test_a_subset_without_spread_has_no_cka():
    x = np.random.RandomState(0).normal(size=(20, 3))
    y = x.copy()
    y[:10] = y[0]
    halves = np.zeros((2, 20), dtype=bool)
    halves[0, :10] = halves[1, 10:] = True
    with pytest.raises(UndefinedError, match="does not vary"):
        subset_cka(x, y, halves)


def test_cka_gets_no_interval_where_halves_lack_spread():
    # Three probes of 20 differ: some halves hold one of them at most and do not vary.
    x = np.random.RandomState(0).normal(size=(20, 3))
    y = np.tile([0.3, 0.4, 0.1], (20, 1))
    y[:3] = np.eye(3)
    found = apply(get("hidden-cka"), pair_for("hidden", x, y), seed=0, resamples=50)
    assert found.value is not None
    assert found.interval is None


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_mutual_neighbours_of_two_clusterings(name):
    # 22 probes. x groups them 0..10 and 11..21, y by parity: a probe's 10 neighbours are its group.
    # Probe 0: others of 0..10 that are even: 2, 4, 6, 8, 10: 5 of 10. Probe 1: 3, 5, 7, 9: 4 of 10.
    x = [[1.0, 0.0] if i < 11 else [0.0, 1.0] for i in range(22)]
    y = [[1.0, 0.0] if i % 2 else [0.0, 1.0] for i in range(22)]
    found = get(name)(pair_for(name, x, y))
    assert found.dtype == np.float64
    assert found[:11] == pytest.approx([0.5, 0.4] * 5 + [0.5])
    assert found.mean() == pytest.approx(10 / 22)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_mutual_neighbours_of_20_probes_are_undefined(name):
    x = np.random.RandomState(0).normal(size=(20, 3))
    with pytest.raises(UndefinedError, match="20 probes; 10 neighbours need more than 20"):
        get(name)(pair_for(name, x, x))


@pytest.mark.parametrize("name", [*CKA, *NEIGHBOURS])
def test_a_missing_vector_takes_its_probe_out(name):
    random = np.random.RandomState(0)
    x = random.normal(size=(24, 3))
    y = x + 0.3 * random.normal(size=(24, 3))
    whole = apply(get(name), pair_for(name, x, y), seed=0, resamples=20)
    x = np.concatenate([x, [[np.nan, 0.0, 1.0], [1.0, 1.0, 1.0]]])
    y = np.concatenate([y, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
    found = apply(get(name), pair_for(name, x, y), seed=0, resamples=20)
    assert found == whole
    assert found.probes == 24
