import math

import numpy as np
import pytest
from scipy.stats import t

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import Draws
from auditor.judge.dose import DosedScore
from auditor.judge.null import predictive_p
from auditor.judge.power import power_curve, smallest_seen_dose, z_threshold

DRAWS = Draws(seed=2, resamples=100)


def graded(groups):
    return [
        DosedScore(dose=dose, score=score, family=f"{dose}-{number}")
        for dose, scores in groups.items()
        for number, score in enumerate(scores)
    ]


LINE = graded({0.0: [-1, 0, 1], 0.5: [9, 10, 11], 1.0: [19, 20, 21]})


def at(curve, dose):
    return curve.power[np.flatnonzero(np.isclose(curve.doses, dose))[0]]


def test_power_at_a_graded_dose_is_the_t_chance_of_one_more_family():
    curve = power_curve(LINE, 7.0, DRAWS)
    assert at(curve, 0.5) == pytest.approx(t.sf((7 - 10) / math.sqrt(4 / 3), 2))
    assert at(curve, 0.0) == pytest.approx(t.sf(7 / math.sqrt(4 / 3), 2))


def test_power_is_half_where_the_mean_meets_the_threshold():
    assert at(power_curve(LINE, 5.0, DRAWS), 0.25) == pytest.approx(0.5)


def test_the_smallest_seen_dose_by_hand():
    # At dose d the mean is 20 d; with spreads 1 and means known to 1/3 the t chance of .9 is
    # reached 1.886 sqrt(1 + (u^2 + (1 - u)^2) / 3) over the threshold: at 7, d near .45.
    found = smallest_seen_dose(power_curve(LINE, 7.0, DRAWS))
    u = found.dose / 0.5
    spread = math.sqrt(1 + (u**2 + (1 - u) ** 2) / 3)
    assert 20 * found.dose == pytest.approx(7 + t.ppf(0.9, 2) * spread, abs=0.03)
    assert found.interval[0] <= found.dose <= found.interval[1]
    assert found.sentence.startswith(
        f"Imitation of at least {math.ceil(found.dose * 100)} % of the training would have been "
        "seen in 90% of models"
    )


def test_more_power_asks_for_a_larger_dose():
    curve = power_curve(LINE, 7.0, DRAWS)
    doses = [smallest_seen_dose(curve, power).dose for power in (0.5, 0.8, 0.9)]
    assert doses == sorted(set(doses))


def test_power_never_falls_with_the_dose():
    # A spread that grows faster than the mean: what the largest dose misses, no dose is sure of.
    wide = graded({0.0: [-1, 0, 1], 0.5: [9, 10, 11], 1.0: [5, 20, 35]})
    curve = power_curve(wide, 5.0, DRAWS)
    assert (np.diff(curve.power) >= 0).all()
    assert curve.power.max() == pytest.approx(at(curve, 1.0))
    assert at(curve, 0.5) <= at(curve, 1.0) < 0.9
    # t with 2 degrees of freedom at 15 / (15 sqrt(4/3)): 1/2 + .866 / (2 sqrt(2 + 3/4)) = .76.
    with pytest.raises(UndefinedError, match=r"a dose of 100% would be seen with power 0\.76"):
        smallest_seen_dose(curve)


def test_the_counts_at_each_graded_dose_stand_beside_it():
    seen = dict(power_curve(LINE, 9.5, DRAWS).seen)
    assert (seen[0.0].count, seen[0.5].count, seen[1.0].count) == (0, 2, 3)
    assert seen[0.5].families == 3


def test_power_matches_what_happens_and_is_cautious_with_few_families():
    # Scores N(20 d, 1 + d): the share of new models of dose .3 above 4.
    random = np.random.RandomState(0)
    truth = 0.5 * math.erfc((4 - 6) / 1.3 / math.sqrt(2))
    estimates = []
    for _ in range(60):
        controls = graded(
            {d: random.normal(20 * d, 1 + d, 8).tolist() for d in (0.0, 0.2, 0.4, 1.0)}
        )
        estimates.append(at(power_curve(controls, 4.0, Draws(seed=0, resamples=2)), 0.3))
    assert np.mean(estimates) == pytest.approx(truth, abs=0.04)
    assert np.mean(estimates) < truth


def test_resampling_draws_families_and_repeats():
    random = np.random.RandomState(1)
    controls = graded({d: random.normal(20 * d, 2, 10).tolist() for d in (0.0, 0.5, 1.0)})
    curve, again = power_curve(controls, 6.0, DRAWS), power_curve(controls, 6.0, DRAWS)
    assert (curve.lower == again.lower).all()
    inside = (curve.lower <= curve.power) & (curve.power <= curve.upper)
    assert inside.mean() > 0.9
    low, high = smallest_seen_dose(curve).interval
    assert 0.02 < high - low < 0.4


def test_a_family_of_several_doses_is_drawn_as_one():
    # Each family has its own level at every dose: its doses move together.
    random = np.random.RandomState(3)
    levels = random.normal(0, 3, 8)
    controls = [
        DosedScore(dose=dose, score=20 * dose + level + random.normal(0, 0.1), family=f"f{number}")
        for number, level in enumerate(levels)
        for dose in (0.0, 0.5, 1.0)
    ]
    moved = power_curve(controls, 5.0, DRAWS)
    apart = [
        DosedScore(dose=c.dose, score=c.score, family=f"{c.family}-{c.dose}") for c in controls
    ]
    free = power_curve(apart, 5.0, DRAWS)
    assert moved.power == pytest.approx(free.power)
    # Between two doses errors that move together do not average out.
    middle = np.flatnonzero(np.isclose(moved.doses, 0.25))[0]
    assert moved.resampled[:, middle].std() > 1.1 * free.resampled[:, middle].std()


def test_the_threshold_is_where_the_predictive_p_crosses_alpha():
    controls = [0.0, 1.0, 3.0, 4.0, 7.0]
    mean, spread = np.mean(controls), np.std(controls, ddof=1)
    value = mean + spread * z_threshold(0.01, 5)
    assert predictive_p(value, controls, "higher") == pytest.approx(0.01)


@pytest.mark.parametrize(("alpha", "families"), [(0.01, 2), (0.0, 12), (1.0, 12)])
def test_no_threshold_without_a_spread_or_a_level(alpha, families):
    with pytest.raises(UndefinedError, match="no threshold"):
        z_threshold(alpha, families)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(UndefinedError, match="threshold nan"):
        power_curve(LINE, math.nan, DRAWS)


def test_no_graded_controls_no_power():
    with pytest.raises(UndefinedError, match="graded doses") as error:
        power_curve([], 3.0, DRAWS)
    assert "controls build" in error.value.hint
