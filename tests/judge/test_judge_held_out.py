"""The validation that a case's calibration allows: from its score table and its kept fits."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from fusion_world import score_rows

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import Draws
from auditor.judge.dependence import dependence
from auditor.judge.fuse import LOG10, Feature, FusionRecipe, raw_scores, standardised
from auditor.judge.fusion_file import fusion_from_json, fusion_json
from auditor.judge.fusion_fit import fit_fusion
from auditor.judge.held_out import held_out, validation_json
from auditor.judge.scores import score_row


@pytest.fixture(scope="module")
def rows():
    return score_rows()


@pytest.fixture(scope="module")
def fitted(rows):
    return fit_fusion(rows, FusionRecipe(draws=Draws(seed=0, resamples=0)))


@pytest.fixture(scope="module")
def read(fitted):
    """The fusion as a stranger has it: from its file."""
    return fusion_from_json(fusion_json(fitted.fusion))


def ratios(validation, pair="imitation:independent"):
    scored, families = validation.question(pair)
    return dict(zip(families, scored.values.tolist(), strict=True))


def test_kept_fits_give_the_validation_of_the_fitting(rows, fitted, read):
    again = held_out(read, rows)
    assert again.families == fitted.validation.families
    assert ratios(again) == pytest.approx(ratios(fitted.validation), abs=1e-9)


def test_a_control_is_weighed_by_the_fit_without_its_family(rows, read):
    # Fitted anew without it, a control of the same family scores as the kept fit says.
    one = next(row for row in rows if row.proposition == "imitation")
    others = [row for row in rows if row.family != one.family]
    alone = fit_fusion(others, FusionRecipe(draws=Draws(seed=0, resamples=0))).fusion
    stranger = held_out(read, rows)
    x = standardised(alone, raw_scores(alone.recipe, one.scores)[None])
    own = alone.coefficients.log_likelihoods(x)[0]
    wanted = (own[1] - own[0]) / LOG10
    assert ratios(stranger)[one.family] == pytest.approx(wanted, abs=1e-5)


def test_without_kept_fits_there_is_no_validation(rows, read):
    with pytest.raises(UndefinedError, match="without each family"):
        held_out(replace(read, folds={}), rows)


def test_costs_and_curves_are_those_of_lir(rows, read):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lir", reason="extra `forensic`")
        from lir.data.models import LLRData
        from lir.metrics import cllr, cllr_min
        from lir.plotting.expected_calibration_error import calculate_ece

    found = validation_json(read, rows)["pairs"]["imitation:independent"]
    scored, _ = held_out(read, rows).question("imitation:independent")
    bounds = read.bounds["imitation:independent"]
    values = np.clip(scored.values, bounds.lower, bounds.upper)
    labels = scored.first.astype(int)  # one member a family, so that theirs are equal weights
    oracle = LLRData(features=values, labels=labels)
    assert found["cllr"] == pytest.approx(cllr(oracle), abs=1e-12)
    assert found["cllr_min"] == pytest.approx(cllr_min(oracle), abs=1e-12)
    ece = found["curves"]["ece"]
    odds = 10.0 ** np.array(ece["log10_prior_odds"])
    assert ece["lr"] == pytest.approx(calculate_ece(10.0**values, labels, odds / (1 + odds)))
    for key, own in (("first", 1), ("second", 0)):
        x, share = found["curves"]["tippett"][key]
        assert share == pytest.approx([(values[labels == own] >= at).mean() for at in x])


def test_correlation_is_of_family_means_within_a_class_by_hand():
    # Two scores of four families: (0, 1), (1, 0), (2, 3), (3, 2), and far away the imitations.
    # Means 1.5; products -1.5*-.5 + -.5*-1.5 + .5*1.5 + 1.5*.5 = 3, squares 5: r = 3/5.
    # Each family has two members on both sides of its mean, in another distance each.
    # Worth 2^2 / (1 + 1 + 2 * 0.36) = 4 / 2.72 lines.
    values = [(0.0, 1.0), (1.0, 0.0), (2.0, 3.0), (3.0, 2.0)]
    table = [
        score_row(
            {
                "subject": f"m{i}{j}",
                "family": f"f{i}",
                "class": "independent",
                "scores": {"a": a + 10 * j, "b": b - 10 * i * j},
            }
        )
        for i, (a, b) in enumerate(values)
        for j in (-1, 1)
    ]
    recipe = FusionRecipe(features=(Feature(name="a"), Feature(name="b")))
    found = dependence(table, recipe)[0]
    assert found.correlation[0, 1] == pytest.approx(0.6)
    assert found.effective_lines == pytest.approx(4 / 2.72)


def test_places_on_a_score_are_of_family_means(rows, read):
    found = validation_json(read, rows)["scores"]
    assert len(found) == 3 * 3
    own = sorted(r.scores["span"] for r in rows if r.proposition == "imitation")
    one = next(r for r in found if (r["score"], r["class"]) == ("span", "imitation"))
    # One member a family and 20 families: the median is the mean of the two in the middle.
    assert one["families"] == 20
    assert one["median"] == pytest.approx((own[9] + own[10]) / 2)
    assert (one["lowest"], one["highest"]) == (own[0], own[-1])


def test_a_table_row_of_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="unknown class"):
        score_row({"subject": "a", "family": "a", "class": "guilty", "scores": {}})
