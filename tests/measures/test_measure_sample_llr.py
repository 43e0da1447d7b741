"""The control-adjusted likelihood ratio: its formula, and what is missing."""

from dataclasses import replace

import numpy as np
import pytest
from measure_bigrams import asked, crossed_pair
from measure_worlds import probes
from scipy.optimize import minimize

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._crossing import residuals
from auditor.measures._run import apply
from auditor.measures._synthetic import fitted_weights, moments
from auditor.panel import TEMPERATURES, Crossing

SAMPLE_LLR = get("sample-llr")
BYTES = 10.0


def crossing(per_byte: np.ndarray, repeats: int = 1) -> Crossing:
    """Return a crossing from (S, A, P) nats a byte, the same at every temperature and repeat."""
    scorers, _, _ = per_byte.shape
    names = tuple(f"control-{i}" for i in range(scorers - 1))
    values = np.broadcast_to(
        per_byte[..., None, None], (*per_byte.shape, repeats, len(TEMPERATURES))
    )
    return Crossing(
        scorers=("reference", *names),
        authors=("suspect", "reference", *names),
        logprob=BYTES * values,
        bytes=np.full((*per_byte.shape[1:], repeats), BYTES),
    )


def worked_example() -> np.ndarray:
    """Return (S, A, P) = (4, 5, 2) nats a byte.

    In the controls' replies the reference says what control 0 says; in control 0's own, which that
    does not score, the reference says the mean of the others: w = (1, 0, 0) leaves nothing.
    About the suspect's replies all controls agree, and the reference is 0.4 above them.
    """
    y = np.full((4, 5, 2), np.nan)
    y[:, 0] = [[-1.0, -2.0], [-1.4, -2.4], [-1.4, -2.4], [-1.4, -2.4]]
    y[:, 2] = [[-1.5, -1.5], [0.0, 0.0], [-1.4, -1.6], [-1.6, -1.4]]  # its own values: 0
    y[:, 3] = [[-1.0, -2.0], [-1.0, -2.0], [0.0, 0.0], [-2.0, -1.0]]
    y[:, 4] = [[-1.2, -1.8], [-1.2, -1.8], [-1.8, -1.2], [0.0, 0.0]]
    return y


def test_a_worked_example():
    # unexplained: suspect 0.4, each control 0; the controls differ about nobody's mean reply, so
    # nothing is magnified: 0.4 - 0
    pair = crossed_pair(crossing(worked_example()), probes(2))
    assert SAMPLE_LLR(pair) == pytest.approx(0.4, abs=1e-9)
    found = residuals(pair)
    everything = np.ones((1, 2), dtype=bool)
    weights = fitted_weights(moments(found, everything, np.zeros(1, dtype=int)))
    np.testing.assert_allclose(weights, [[1.0, 0.0, 0.0]], atol=1e-9)


def test_the_unit_is_a_byte_of_each_reply():
    # Replies twice as long with twice the log-likelihood have the same ratio.
    short = crossing(worked_example())
    longer = replace(short, logprob=2 * short.logprob, bytes=2 * short.bytes)
    values = [SAMPLE_LLR(crossed_pair(one, probes(2))) for one in (short, longer)]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_a_controls_opinion_of_its_own_replies_does_not_count():
    y = worked_example()
    for place in range(3):
        y[place + 1, place + 2] = -7.0
    assert SAMPLE_LLR(crossed_pair(crossing(y), probes(2))) == pytest.approx(0.4, abs=1e-9)


def random_values(seed: int, p: int) -> np.ndarray:
    """Return (S, A, P) = (6, 7, P) nats a byte with an effect of each scorer, author and probe."""
    random = np.random.RandomState(seed)
    effects = random.normal(size=(6, 1, 1)), random.normal(size=(1, 7, 1)), random.normal(size=p)
    y = -4 + 0.1 * effects[0] + 0.3 * effects[1] + 0.5 * effects[2]
    y = y + 0.2 * random.normal(size=(6, 7, p))
    y[:, 1] = np.nan
    return y


def by_hand(y: np.ndarray, strata: np.ndarray) -> float:
    """Return the value by the formulas of the docstring, one reply at a time."""
    own = {(c + 1, c + 2) for c in range(5)}
    z = {}
    for a in (0, *range(2, 7)):
        for p in range(y.shape[2]):
            present = [c for c in range(1, 6) if (c, a) not in own]
            mean = np.mean([y[c, a, p] for c in present])
            z[a, p] = np.array([y[0, a, p] - mean] + [
                y[c, a, p] - mean if c in present else 0.0 for c in range(1, 6)
            ])  # fmt: skip
    used = sorted(set(strata.tolist()))
    inside = {s: np.flatnonzero(strata == s) for s in used}
    rows = {s: np.array([z[a, p] for a in range(2, 7) for p in inside[s]]) for s in used}
    rows = {s: r / np.sqrt((r[:, 0] ** 2).sum()) for s, r in rows.items()}
    stacked = np.concatenate(list(rows.values()))
    w = minimize(
        lambda w: ((stacked[:, 0] - stacked[:, 1:] @ w) ** 2).sum(),
        np.full(5, 0.2),
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    ).x
    gains, precisions = [], []
    for s in used:
        mean = {a: np.mean([z[a, p] for p in inside[s]], axis=0) for a in (0, *range(2, 7))}
        left = {a: m[0] - m[1:] @ w for a, m in mean.items()}
        pool = np.array([left[a] for a in range(2, 7)])
        apart = {a: spread_from_reply_to_reply(z, inside[s], a) for a in mean}
        magnified = max(1.0, apart[0] / np.median([apart[a] for a in range(2, 7)]))
        gains.append((left[0] - pool.mean()) / magnified)
        precisions.append(1 / pool.std())
    return float(np.average(gains, weights=precisions))


def spread_from_reply_to_reply(z: dict, inside: np.ndarray, a: int) -> float:
    variances = sorted(
        np.var([z[a, p][c] for p in inside], ddof=1) for c in range(1, 6) if a != c + 1
    )
    return float(np.sqrt(np.mean(variances[:-1])))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_formulas_one_reply_at_a_time(seed):
    asked_probes = asked(7, 4)
    strata = np.array([0] * 7 + [1] * 4)
    y = random_values(seed, 11)
    if seed == 2:
        y[1:, 0] = y[1:, 0] * 3 - y[1:, 0].mean(axis=0) * 2  # controls differ more: magnified
    value = SAMPLE_LLR(crossed_pair(crossing(y), asked_probes))
    assert value == pytest.approx(by_hand(y, strata), abs=1e-6)


def test_one_stratum_alone_is_enough():
    y = random_values(4, 6)
    value = SAMPLE_LLR(crossed_pair(crossing(y), asked(0, 6)))
    assert value == pytest.approx(by_hand(y, np.ones(6)), abs=1e-6)
    assert value == pytest.approx(SAMPLE_LLR(crossed_pair(crossing(y), asked(6, 0))), abs=1e-12)


def test_a_reply_that_the_reference_did_not_score_is_left_out():
    y = random_values(5, 9)
    y[0, 0, 3] = np.nan
    kept = [0, 1, 2, 4, 5, 6, 7, 8]
    lacking = crossing(y)
    without = crossed_pair(lacking, asked(9, 0))
    # Elsewhere probe 3 still counts, so only the suspect's mean is that of the other probes.
    left = residuals(without)
    assert not left.bytes[0, 3].any()
    assert left.bytes[1:, 3].all()
    assert np.isfinite(SAMPLE_LLR(without))
    assert SAMPLE_LLR(without.take(kept)) == pytest.approx(
        by_hand(y[:, :, kept], np.zeros(8)), abs=1e-6
    )


def test_a_value_that_a_control_lacks_is_the_mean_of_the_others():
    y = random_values(6, 9)
    filled = y.copy()
    filled[2, 0, 4] = np.mean([y[c, 0, 4] for c in (1, 3, 4, 5)])
    y[2, 0, 4] = np.nan
    values = [SAMPLE_LLR(crossed_pair(crossing(one), asked(9, 0))) for one in (y, filled)]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_an_empty_reply_is_left_out():
    lacking = crossing(random_values(7, 9))
    length = np.array(lacking.bytes)
    length[0, 2] = 0.0
    pair = crossed_pair(replace(lacking, bytes=length), asked(9, 0))
    assert not residuals(pair).bytes[0, 2].any()
    assert np.isfinite(SAMPLE_LLR(pair))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda y: y.__setitem__(np.s_[3:, :], np.nan), "2 controls of the pool scored"),
        (lambda y: y.__setitem__(np.s_[:, 4:], np.nan), "the replies of 2 controls"),
        (lambda y: y.__setitem__(np.s_[:, 0], np.nan), "scored no reply of suspect"),
        (lambda y: y.__setitem__(np.s_[0], np.nan), "scored no reply of suspect"),
        (lambda y: y.__setitem__(np.s_[:], np.nan), "scored no reply of suspect"),
    ],
)
def test_too_little_is_undefined_with_the_reason(damage, reason):
    y = random_values(8, 6)
    damage(y)
    pair = crossed_pair(crossing(y), asked(6, 0))
    with pytest.raises(UndefinedError, match=reason):
        SAMPLE_LLR(pair)
    found = apply(SAMPLE_LLR, pair, seed=0)
    assert found.value is None
    assert reason in found.undefined


def test_a_suspect_that_answered_noise_only_has_no_comparison_in_prose():
    # The controls answered prose only: no stratum has replies of both.
    y = random_values(9, 8)
    y[:, 0, :4] = np.nan
    y[:, 2:, 4:] = np.nan
    with pytest.raises(UndefinedError, match="neither natural nor out-of-distribution"):
        SAMPLE_LLR(crossed_pair(crossing(y), asked(4, 4)))


def test_the_suspects_replies_do_not_move_the_weights():
    y = random_values(10, 8)
    moved = y.copy()
    moved[:, 0] = random_values(11, 8)[:, 0]
    weights = [
        fitted_weights(moments(residuals(crossed_pair(crossing(one), asked(8, 0))),
                               np.ones((1, 8), dtype=bool), np.zeros(1, dtype=int)))
        for one in (y, moved)
    ]  # fmt: skip
    np.testing.assert_array_equal(*weights)
