"""What is counted on the locked half of a score table."""

from auditor.controls.pack_calibration import SAMPLE
from auditor.controls.pack_evaluation import evaluate_counts


def row(number: int, split: str, value: float, role: str = "independent") -> dict:
    scores = {SAMPLE: {"value": value, "z": value, "rank_p": None, "predictive_p": 0.5}}
    return {
        "name": f"m{number}",
        "group": role,
        "role": role,
        "family": f"m{number}",
        "split": split,
        "start": None,
        "teaching": None,
        "scores": scores,
        "undefined": {},
        "reading": "inconclusive",
    }


def rank_tests(rows: list[dict]) -> list[dict]:
    return [test for test in evaluate_counts(rows)["null_tests"] if test["test"].startswith("rank")]


def test_ranks_of_the_locked_half_are_among_the_other_half():
    # Null 0..98: the rank p of 93.5 is (1 + 5) / 100, of 94.5 it is 5 / 100, of 98.5 it is 1 / 100.
    null = [row(i, "calibration", float(i)) for i in range(99)]
    locked = [row(100 + i, "locked", v) for i, v in enumerate((-1.0, 93.5, 94.5, 98.5))]
    five, one = rank_tests([*null, *locked])
    assert (five["nominal"], five["rejected"], five["models"]) == (0.05, 2, 4)
    assert (one["nominal"], one["rejected"], one["models"]) == (0.01, 1, 4)


def test_a_level_that_no_rank_reaches_is_not_tested():
    null = [row(i, "calibration", float(i)) for i in range(98)]  # the rarest rank is 1 / 99
    (only,) = rank_tests([*null, row(100, "locked", 200.0)])
    assert only["nominal"] == 0.05


def test_linked_models_are_no_null():
    null = [row(i, "calibration", float(i)) for i in range(99)]
    linked = [row(200 + i, "calibration", 1000.0, "imitation") for i in range(50)]
    five, _ = rank_tests([*null, *linked, row(100, "locked", 98.5)])
    assert five["test"].endswith("among 99")
    assert five["rejected"] == 1
