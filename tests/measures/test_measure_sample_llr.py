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


def crossing(per_byte: np.ndarray, length: np.ndarray | float = 10.0) -> Crossing:
    """Return a crossing from (S, A, P) nats a byte, the same at every temperature, one repeat."""
    scorers, authors, count = per_byte.shape
    names = tuple(f"control-{i}" for i in range(scorers - 1))
    size = np.broadcast_to(np.asarray(length, dtype=np.float64), (authors, count))
    nats = (per_byte * size)[..., None, None]
    return Crossing(
        scorers=("reference", *names),
        authors=("suspect", "reference", *names),
        logprob=np.broadcast_to(nats, (*per_byte.shape, 1, len(TEMPERATURES))),
        bytes=size[..., None],
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


OWN = {(c + 1, c + 2) for c in range(5)}
POOL = range(2, 7)


def by_hand(y: np.ndarray, strata: np.ndarray, length: np.ndarray, *, cold: bool = False) -> float:
    """Return the value by the formulas of the docstring, one reply at a time.

    Args: y (S, A, P) nats a byte; strata (P,); length (A, P) bytes; cold: the suspect samples at
    a low temperature.
    """
    z = {(a, p): residual(y, a, p) for a in (0, *POOL) for p in range(y.shape[2])}
    heard = np.flatnonzero(np.isfinite(y[0, 0]))
    inside = {s: np.flatnonzero(strata == s) for s in sorted(set(strata.tolist()))}
    w = simplex_fit(z, length, inside)
    standard, precisions = [], []
    for every in inside.values():
        whole = {a: mean_of(z, length, every, a) for a in POOL}
        precisions.append(1 / np.std([m[0] - m[1:] @ w for m in whole.values()]))
        some = np.intersect1d(every, heard)
        if 2 * len(some) < len(every):
            continue
        mean = {a: mean_of(z, length, some, a) for a in (0, *POOL)}
        left = {a: m[0] - m[1:] @ w for a, m in mean.items()}
        pool = np.array([left[a] for a in POOL])
        spreads = [{a: among_replies(z, length, some, mean, a) for a in mean}]
        spreads += [{a: in_the_mean(mean, a) for a in mean}] if cold else []
        ratios = [one[0] / np.median([one[a] for a in POOL]) for one in spreads]
        standard.append((left[0] - pool.mean()) / max(1.0, *ratios) / pool.std())
    # A mean of n standard scores scatters as 1 / sqrt(n): as wide as that of all strata.
    spread = np.sqrt(len(inside)) * np.sqrt(len(standard))
    return float(len(inside) * np.sum(standard) / spread / np.sum(precisions))


def mean_of(z: dict, length: np.ndarray, probes: np.ndarray, a: int) -> np.ndarray:
    return np.average([z[a, p] for p in probes], axis=0, weights=length[a, probes])


def residual(y: np.ndarray, a: int, p: int) -> np.ndarray:
    present = [c for c in range(1, 6) if (c, a) not in OWN]
    mean = np.mean([y[c, a, p] for c in present])
    others = [y[c, a, p] - mean if c in present else 0.0 for c in range(1, 6)]
    return np.array([y[0, a, p] - mean, *others])


def simplex_fit(z: dict, length: np.ndarray, inside: dict) -> np.ndarray:
    rows = []
    for probes_of_one in inside.values():
        part = np.array([z[a, p] * np.sqrt(length[a, p]) for a in POOL for p in probes_of_one])
        rows.append(part / np.sqrt((part[:, 0] ** 2).sum()))
    target, columns = np.split(np.concatenate(rows), [1], axis=1)
    return minimize(
        lambda w: ((target[:, 0] - columns @ w) ** 2).sum(),
        np.full(5, 0.2),
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    ).x


def among_replies(z: dict, length: np.ndarray, inside: np.ndarray, mean: dict, a: int) -> float:
    variances = [
        sum(length[a, p] * (z[a, p][c] - mean[a][c]) ** 2 for p in inside) / (len(inside) - 1)
        for c in range(1, 6)
        if (c, a) not in OWN
    ]
    return float(np.sqrt(np.mean(sorted(variances)[:-1])))


def in_the_mean(mean: dict, a: int) -> float:
    squares = []
    for c in range(1, 6):
        if (c, a) not in OWN:
            others = [mean[b][c] for b in POOL if b != a and (c, b) not in OWN]
            squares.append((mean[a][c] - np.mean(others)) ** 2)
    return float(np.sqrt(np.mean(sorted(squares)[:-1])))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("cold", [False, True])
def test_the_formulas_one_reply_at_a_time(seed, cold):
    strata = np.array([0] * 7 + [1] * 4)
    y = random_values(seed, 11)
    length = np.random.RandomState(seed + 50).randint(3, 90, size=(7, 11)).astype(np.float64)
    if seed == 2:
        y[1:, 0] = y[1:, 0] * 3 - y[1:, 0].mean(axis=0) * 2  # controls differ more: magnified
    found = crossing(y, length)
    if cold:
        found = colder(found)
    value = SAMPLE_LLR(crossed_pair(found, asked(7, 4)))
    assert value == pytest.approx(by_hand(y, strata, length, cold=cold), abs=1e-6)


def colder(found: Crossing) -> Crossing:
    """Return the crossing with a suspect whose replies everybody finds likelier at 1 / 1.5.

    All scorers alike: with x = 1 / temperature, x - x^2 / 3 a byte: slope 0 at 1.5, 1/3 at 1.
    """
    x = 1 / np.array(TEMPERATURES)
    logprob = np.array(found.logprob)
    logprob[:, 0] += found.bytes[0][..., None] * (x - x**2 / 3)
    return replace(found, logprob=logprob)


def test_one_stratum_alone_is_enough():
    y = random_values(4, 6)
    value = SAMPLE_LLR(crossed_pair(crossing(y), asked(0, 6)))
    assert value == pytest.approx(by_hand(y, np.ones(6), np.ones((7, 6))), abs=1e-6)
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
        by_hand(y[:, :, kept], np.zeros(8), np.ones((7, 8))), abs=1e-6
    )


def test_a_value_that_a_control_lacks_is_the_mean_of_the_others():
    y = random_values(6, 9)
    filled = y.copy()
    filled[2, 0, 4] = np.mean([y[c, 0, 4] for c in (1, 3, 4, 5)])
    y[2, 0, 4] = np.nan
    values = [SAMPLE_LLR(crossed_pair(crossing(one), asked(9, 0))) for one in (y, filled)]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_a_reply_given_to_several_probes_is_left_out():
    # The reference is 0.4 nats a byte above the controls on the first reply, 2.0 on the second:
    # (0.4 + 2.0) / 2 where they differ; one canned text for both leaves nothing to compare.
    y = worked_example()
    y[0, 0, 1] = -0.4
    pair = crossed_pair(crossing(y), probes(2))
    differ = replace(pair.suspect, texts=(("a",), ("b",)))
    assert SAMPLE_LLR(replace(pair, suspect=differ)) == pytest.approx(1.2, abs=1e-9)
    canned = replace(pair.suspect, texts=(("a",), ("a",)))
    with pytest.raises(UndefinedError):
        SAMPLE_LLR(replace(pair, suspect=canned))


def test_an_empty_reply_is_left_out():
    y = random_values(7, 9)
    empty, unscored = crossing(y), y.copy()
    unscored[:, 0, 2] = np.nan
    length = np.array(empty.bytes)
    length[0, 2] = 0.0
    values = [
        SAMPLE_LLR(crossed_pair(one, asked(9, 0)))
        for one in (replace(empty, bytes=length), crossing(unscored))
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


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
    with pytest.raises(UndefinedError, match="answered less than half of the natural"):
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


@pytest.mark.parametrize("answered", [range(7), range(8), [0, 2, 3, 5, 7, 9], [0, 7, 8, 9]])
def test_a_suspect_that_refused_some_is_compared_where_it_answered(answered):
    # No noise; 1 of 4 of it, too little; half and more of both; too little prose.
    y = random_values(13, 11)
    refused = np.setdiff1d(range(11), list(answered))
    y[:, 0, refused] = np.nan
    strata = np.array([0] * 7 + [1] * 4)
    length = np.random.RandomState(63).randint(3, 90, size=(7, 11)).astype(np.float64)
    value = SAMPLE_LLR(crossed_pair(crossing(y, length), asked(7, 4)))
    assert value == pytest.approx(by_hand(y, strata, length), abs=1e-6)
