"""The ordered rules: which finding gives which word, and what withholds it."""

from dataclasses import replace

import pytest

from auditor.judge.findings import Decisive, Evidence, Thresholds
from auditor.judge.null import Standing, standing
from auditor.judge.reading import conclude

CONTROLS = [-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03]
FAR = standing(0.5, CONTROLS, "higher")
NEAR = standing(0.005, CONTROLS, "higher")
COVERED = Evidence(families=7, architecture="LlamaForCausalLM", alike=7, neuron_p=0.4)


def decisive(place: Standing, p: float | None = None, name: str = "sample-llr") -> Decisive:
    return Decisive(name=name, place=place, p=place.predictive_p if p is None else p)


IMITATOR = replace(COVERED, imitation=(decisive(FAR),))
UNLINKED = replace(
    COVERED,
    imitation=(decisive(NEAR), decisive(NEAR, name="idiosyncratic-agreement")),
    seen_dose=0.3,
)


def test_without_controls_there_is_no_verdict_whatever_the_similarity():
    conclusion = conclude(Evidence(screening=(standing(1.0, [], "higher"),)))
    assert conclusion.reading == "inconclusive"
    assert conclusion.basis == "uncontrolled similarity"
    assert "--control" in conclusion.limits[0]
    assert conclusion.log10_lr is None


def test_with_few_controls_the_rank_is_the_basis():
    places = (standing(1.0, [0.1, 0.2], "higher"), standing(0.15, [0.1, 0.2], "higher"))
    conclusion = conclude(replace(IMITATOR, families=2, alike=2, screening=places))
    assert conclusion.reading == "inconclusive"
    assert conclusion.basis.endswith("all 2 control families on 1 of 2 measures")
    assert any("1/3" in limit for limit in conclusion.limits)


@pytest.mark.parametrize(("families", "reading"), [(5, "inconclusive"), (6, "imitation")])
def test_imitation_needs_six_families(families, reading):
    assert conclude(replace(IMITATOR, families=families, alike=3)).reading == reading


def test_rederived_weights_need_no_control():
    conclusion = conclude(Evidence(rederived=("rounding to 8 bits", 1.0)))
    assert conclusion.reading == "replication"
    assert "100.0%" in conclusion.basis
    assert "rounding to 8 bits" in conclusion.basis


def test_few_equal_tensors_are_no_rederivation():
    assert conclude(Evidence(rederived=("a cast", 0.4))).reading == "inconclusive"


@pytest.mark.parametrize(("p", "reading"), [(9e-5, "replication"), (2e-4, "inconclusive")])
def test_matching_neurons_need_no_control(p, reading):
    assert conclude(Evidence(neuron_p=p, agreed=0.9)).reading == reading


@pytest.mark.parametrize(
    ("agreed", "reading"), [(0.2, "replication"), (0.19, "inconclusive"), (None, "inconclusive")]
)
def test_few_neurons_in_common_are_no_copy_however_small_p_is(agreed, reading):
    # 2 % of 2,000 neurons learnt alike, 40 where 1 is chance: p is tiny, and it is no copy.
    found = replace(UNLINKED, neuron_p=1e-50, agreed=agreed)
    assert conclude(found).reading == reading


def test_a_control_that_matches_too_says_common_ancestor():
    conclusion = conclude(replace(COVERED, neuron_p=1e-80, agreed=1.0, ancestor="base"))
    assert conclusion.reading == "inconclusive"
    assert conclusion.basis.startswith("common ancestry")
    assert any("base" in limit for limit in conclusion.limits)


def test_matching_neurons_outrank_the_samples():
    assert conclude(replace(IMITATOR, neuron_p=1e-9, agreed=1.0)).reading == "replication"


def test_controls_of_another_architecture_withhold_every_reading():
    for evidence in (IMITATOR, UNLINKED):
        conclusion = conclude(replace(evidence, alike=1))
        assert conclusion.reading == "inconclusive"
        assert "LlamaForCausalLM" in str(conclusion.cap)


# Standard deviation 0.0216 of the 7 controls: t with 6 degrees of freedom is 0.033 / (0.0216
# sqrt(8 / 7)) = 1.43 (p 0.10) beside 0.035, 1.52 (p 0.09) and 0.031, 1.34 (p 0.11).
BESIDE = standing(0.035, CONTROLS, "higher")
INSIDE = standing(0.031, CONTROLS, "higher")


def test_one_decisive_test_is_enough_where_the_other_supports_it():
    other = decisive(FAR, name="idiosyncratic-agreement")
    conclusion = conclude(replace(IMITATOR, imitation=(decisive(BESIDE), other)))
    assert BESIDE.predictive_p < 0.1
    assert conclusion.reading == "imitation"
    assert conclusion.basis.startswith("where the reference is unlike the controls")


@pytest.mark.parametrize(
    "names",
    [("sample-llr", "idiosyncratic-agreement"), ("idiosyncratic-agreement", "sample-llr")],
)
def test_a_decisive_test_that_the_other_contradicts_accuses_nobody(names):
    tests = (decisive(INSIDE, name=names[0]), decisive(FAR, name=names[1]))
    conclusion = conclude(replace(IMITATOR, imitation=tests))
    assert INSIDE.predictive_p > 0.1
    assert conclusion.reading == "inconclusive"
    assert "the decisive tests disagree" in conclusion.basis
    assert names[0] in conclusion.basis


def test_imitation_must_be_beyond_every_control():
    # Eight controls of which one is as close as the suspect: rank 2/9, however small p is.
    place = standing(0.5, [*CONTROLS, 0.6], "higher")
    found = replace(IMITATOR, imitation=(decisive(place, 1e-6),))
    assert place.rank_p == pytest.approx(2 / 9)
    assert conclude(found).reading == "inconclusive"


@pytest.mark.parametrize(("p", "reading"), [(0.0099, "imitation"), (0.0101, "inconclusive")])
def test_imitation_needs_the_adjusted_predictive_p(p, reading):
    assert conclude(replace(IMITATOR, imitation=(decisive(FAR, p),))).reading == reading


def test_behaviour_alone_cannot_tell_imitation_from_replication():
    conclusion = conclude(replace(IMITATOR, neuron_p=None))
    assert conclusion.reading == "inconclusive"
    assert conclusion.basis.startswith("imitation or replication")


def test_weights_that_cannot_be_copies_leave_imitation():
    found = replace(IMITATOR, neuron_p=None, copy_excluded="different MLPs: gated and plain")
    assert conclude(found).reading == "imitation"


@pytest.mark.parametrize(
    ("excess", "via"),
    [(0.15, "logits"), (0.14, None), (0.03, "text"), (-0.2, "text"), (None, None)],
)
def test_the_span_tells_logits_from_text(excess, via):
    conclusion = conclude(replace(IMITATOR, span_excess=excess))
    assert (conclusion.reading, conclusion.via) == ("imitation", via)


def test_no_link_states_the_dose_that_would_have_been_seen():
    conclusion = conclude(UNLINKED)
    assert conclusion.reading == "no-link"
    assert "30%" in conclusion.basis
    assert "cannot be excluded" in str(conclusion.cap)


@pytest.mark.parametrize(
    "change",
    [
        {"seen_dose": None},
        {"imitation": ()},
        {"neuron_p": None},
        {"imitation": (decisive(Standing(families=7, rank_p=0.125, z=2.0, predictive_p=0.049)),)},
    ],
    ids=["no power", "no samples", "no weights", "between"],
)
def test_no_link_is_withheld(change):
    assert conclude(replace(UNLINKED, **change)).reading == "inconclusive"


def test_an_unknown_power_says_what_to_add():
    limits = conclude(replace(UNLINKED, seen_dose=None)).limits
    assert any("auditor controls build" in limit for limit in limits)


def test_the_rules_are_written_with_their_numbers():
    assert Thresholds().as_json() == {
        "rules": "reading/3",
        "rederived_share": 0.5,
        "replication_alpha": 1e-4,
        "neurons_agreed": 0.2,
        "fewest_families": 6,
        "fewest_alike": 2,
        "imitation_alpha": 0.01,
        "supporting_p": 0.1,
        "logits_excess": 0.15,
        "text_excess": 0.03,
        "no_link_p": 0.05,
        "power": 0.9,
    }
