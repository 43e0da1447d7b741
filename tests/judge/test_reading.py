from auditor.judge.null import standing
from auditor.judge.reading import conclude


def test_without_controls_there_is_no_verdict_whatever_the_similarity():
    conclusion = conclude([standing(1.0, [], "higher")])
    assert conclusion.reading == "inconclusive"
    assert conclusion.basis == "uncontrolled similarity"
    assert "--control" in conclusion.limits[0]
    assert conclusion.log10_lr is None


def test_with_controls_the_rank_is_the_basis():
    place = standing(1.0, [0.1, 0.2], "higher")
    worse = standing(0.15, [0.1, 0.2], "higher")
    conclusion = conclude([place, worse])
    assert conclusion.reading == "inconclusive"
    assert conclusion.basis.endswith("all 2 control families on 1 of 2 measures")
    assert any("1/3" in limit for limit in conclusion.limits)


def test_nothing_measured_is_no_verdict():
    assert conclude([]).basis == "uncontrolled similarity"
