import numpy as np
import pytest
from fusion_world import score_rows

from auditor.judge.dependence import dependence, effective_lines
from auditor.judge.fuse import Feature, FusionRecipe
from auditor.judge.scores import ScoreRow

RECIPE = FusionRecipe(features=(Feature(name="span"), Feature(name="sample")))


def test_independent_lines_count_in_full_and_copies_once():
    assert effective_lines(np.eye(4)) == pytest.approx(4)
    assert effective_lines(np.ones((4, 4))) == pytest.approx(1)


def test_effective_lines_of_a_pair_by_hand():
    # Eigenvalues 1.6 and .4: 2^2 / (2.56 + .16).
    assert effective_lines(np.array([[1, 0.6], [0.6, 1]])) == pytest.approx(4 / 2.72)


def test_scores_that_only_share_the_class_are_not_dependent():
    # Over all controls span and sample correlate strongly; inside a class they do not.
    rows = score_rows(sizes={"independent": 400, "replication": 400})
    pooled = np.corrcoef([[row.scores[n] for row in rows] for n in ("span", "sample")])[0, 1]
    independent, imitation, replication = dependence(rows, RECIPE)
    assert pooled > 0.6
    assert abs(independent.correlation[0, 1]) < 0.15
    assert abs(replication.correlation[0, 1]) < 0.15
    assert independent.effective_lines > 1.9
    assert imitation.correlation is None
    assert imitation.undefined == "0 families: a correlation needs 4"


def test_one_line_said_twice_is_one_line():
    rows = score_rows(
        sizes={"independent": 20}, span=lambda _, n: n * 1.0, sample=lambda _, n: 3 + n
    )
    (independent, *_) = dependence(rows, RECIPE)
    assert independent.correlation[0, 1] == pytest.approx(1.0)
    assert independent.effective_lines == pytest.approx(1.0)


def test_members_of_a_family_are_one_point():
    rows = [
        ScoreRow(
            subject=f"{family}{member}",
            family=family,
            proposition="imitation",
            scores={"span": value + member, "sample": value**2},
        )
        for family, value in (("a", 1.0), ("b", 2.0), ("c", 4.0), ("d", 7.0))
        for member in (-0.5, 0.5)
    ]
    found = dependence(rows, RECIPE)[1]
    assert found.families == 4
    expected = np.corrcoef([1, 2, 4, 7], [1, 4, 16, 49])[0, 1]
    assert found.correlation[0, 1] == pytest.approx(expected)


def test_a_score_without_variation_has_no_correlation():
    rows = score_rows(sizes={"independent": 10}, span=lambda *_: 1.0)
    assert dependence(rows, RECIPE)[0].undefined == "span does not vary between families"
