"""The control-adjusted likelihood ratio on models whose likelihoods and links are known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from measure_bigrams import Panel, World, asked, crossed_pair

from auditor.measures import get
from auditor.measures._crossing import residuals
from auditor.measures._tempering import TEMPERATURE_CANDIDATES, relative_temperatures
from auditor.measures.sample_llr import sample_llr_by_category

SAMPLE_LLR = get("sample-llr")


@pytest.fixture(scope="module")
def panel() -> Panel:
    world = World(1)
    reference = world.model()
    return Panel.of(world, reference, [world.model() for _ in range(10)], asked(60, 24))


@pytest.fixture(scope="module")
def null(panel) -> np.ndarray:
    return panel.null(SAMPLE_LLR)


def standardised(panel: Panel, null: np.ndarray, models, temperature: float = 1.0) -> np.ndarray:
    values = [SAMPLE_LLR(panel.suspect(model, temperature)) for model in models]
    return (np.array(values) - null.mean()) / null.std(ddof=1)


def test_controls_place_new_independent_models_correctly(panel, null):
    # null mean: 0 within 3 standard errors of 10 values; new models: their mean z has a standard
    # error of sqrt(1/10 + 1/20) = 0.39, their spread of 1 / sqrt(2 * 9) + 1 / sqrt(2 * 19)
    assert abs(null.mean()) < 3 * null.std(ddof=1) / np.sqrt(10)
    z = standardised(panel, null, [panel.world.model() for _ in range(20)])
    assert abs(z.mean()) < 1.2
    assert 0.5 < z.std(ddof=1) < 1.7


def test_the_ratio_grows_with_the_dose(panel, null):
    means = [
        standardised(
            panel, null, [panel.world.student(panel.reference, dose) for _ in range(4)]
        ).mean()
        for dose in (0.0, 0.25, 0.5, 1.0)
    ]
    assert (np.diff(means) > 0.5).all()
    assert means[-1] > 5


def test_a_student_of_a_sibling_is_not_accused(panel, null):
    sibling = panel.world.model()
    z = standardised(panel, null, [panel.world.student(sibling, 1.0) for _ in range(6)])
    assert z.max() < 3


def test_a_student_that_started_from_a_control_is_found(panel, null):
    base = panel.controls[0]
    z = standardised(
        panel, null, [panel.world.student(panel.reference, 0.5, own=base) for _ in range(4)]
    )
    assert z.min() > 2.5


@pytest.mark.parametrize("temperature", [0.4, 0.62, 0.85, 1.0])
def test_the_temperature_of_independent_models_is_recovered(panel, temperature):
    everything = np.ones((1, len(panel.probes)), dtype=bool)
    found = [
        TEMPERATURE_CANDIDATES[
            relative_temperatures(
                residuals(panel.suspect(panel.world.model(), temperature)), everything
            )[0]
        ]
        for _ in range(6)
    ]
    # the nearest to 1 of those that explain the replies
    assert temperature - 0.02 < np.mean(found) < temperature + 0.1
    assert np.max(found) <= 1.0


def test_low_temperature_accuses_nobody_and_hides_no_student(panel, null):
    z = standardised(panel, null, [panel.world.model() for _ in range(12)], temperature=0.4)
    assert np.abs(z).max() < 4
    students = [panel.world.student(panel.reference, 1.0) for _ in range(4)]
    assert standardised(panel, null, students, temperature=0.4).min() > 3


def test_the_simplex_beats_the_mean_in_a_mixed_pool(monkeypatch):
    # 3 controls learnt what the reference learnt, 7 learnt another world; the students' own data
    # is that other world, which "reference minus mean control" counts against them.
    world = World(5)
    other = world.model(precision=1.0)
    controls = [world.model() for _ in range(3)] + [world.model(other) for _ in range(7)]
    mixed = Panel.of(world, world.model(), controls, asked(60, 24))
    students = [world.student(mixed.reference, 0.4, own=world.model(other)) for _ in range(6)]
    replies = [mixed.suspect(one) for one in students]
    fitted = np.array([SAMPLE_LLR(pair) for pair in replies])
    null = mixed.null(SAMPLE_LLR)
    z_fitted = ((fitted - null.mean()) / null.std(ddof=1)).mean()
    monkeypatch.setattr(
        "auditor.measures.sample_llr.fitted_weights",
        lambda sums: np.full((1, sums.cross.shape[-1] - 1), 1 / (sums.cross.shape[-1] - 1)),
    )
    mean = np.array([SAMPLE_LLR(pair) for pair in replies])
    null = mixed.null(SAMPLE_LLR)
    assert z_fitted > ((mean - null.mean()) / null.std(ddof=1)).mean()


def test_one_category_is_the_whole(panel):
    natural = [i for i, probe in enumerate(panel.probes) if probe.category == "story"]
    pair = panel.suspect(panel.world.model()).take(natural)
    (found,) = sample_llr_by_category(pair).values()
    assert found.value == pytest.approx(SAMPLE_LLR(pair), abs=1e-12)
    assert found.probes == len(natural)
    assert len(found.pool) == 10
    assert sum(found.pool) == pytest.approx(0.0, abs=1e-9)


def test_a_link_in_one_category_shows_there(panel):
    # The suspect answers stories as a copy of the reference and all else as itself.
    own, copied = (panel.suspect(m).crossing for m in (panel.world.model(), panel.reference))
    stories = np.array([probe.category == "story" for probe in panel.probes])
    logprob = np.array(own.logprob)
    logprob[:, 0, stories] = copied.logprob[:, 0, stories]
    found = sample_llr_by_category(crossed_pair(replace(own, logprob=logprob), panel.probes))
    assert set(found) == {"story", "letter", "noise"}
    assert found["story"].value > 2 * max(found["story"].pool)
    assert found["letter"].value < max(found["letter"].pool)


def test_a_category_without_replies_is_left_out(panel):
    own = panel.suspect(panel.world.model()).crossing
    logprob = np.array(own.logprob)
    logprob[:, 0, [probe.category == "letter" for probe in panel.probes]] = np.nan
    found = sample_llr_by_category(crossed_pair(replace(own, logprob=logprob), panel.probes))
    assert set(found) == {"story", "noise"}
