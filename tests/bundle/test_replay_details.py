"""replay.py and the package agree on what stands behind a conclusion, and find what was changed."""

import json
import shutil

import jsonschema
import pytest
from replay_world import edited, replay_module, tiny_case

from auditor.case import Case
from auditor.data import data_dir
from auditor.judge.conclusions import judge

replay = replay_module()
KINDS = ("support", "robustness", "validation")
SUSPECT = "same-data-03"


def calibrate(case: Case) -> None:
    """Put the shipped calibration into a case, its population widened so that it holds it."""
    shipped = json.loads((data_dir("probes") / "packs" / "zoo" / "calibration.json").read_bytes())
    shipped["population"] |= {"null_families": [0, 99], "suites": [], "tokenizers": None}
    case.write_json("calibration.json", shipped)
    case.write_json("conclusion.json", judge(case))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> Case:
    """A finished, calibrated case; tests must not change it."""
    case = tiny_case(tmp_path_factory.mktemp("details") / "case")
    calibrate(case)
    return case


@pytest.fixture
def copy(calibrated, tmp_path) -> Case:
    """A copy of it that a test may change."""
    shutil.copytree(calibrated.data, tmp_path / "case" / "data")
    return Case(tmp_path / "case")


def faults(case: Case) -> dict[tuple[str, str], str]:
    """Return {(kind, suspect): detail} of the details that differ."""
    again = replay.Replay(replay.Case(case.data))
    return {
        (kind, suspect): detail
        for kind, suspect, outcome, detail in replay.check_details(again)
        if outcome == "differs"
    }


def test_two_implementations_agree_on_lines_validation_and_robustness(calibrated):
    again = replay.Replay(replay.Case(calibrated.data))
    found = list(replay.check_details(again))
    assert [row for row in found if row[2] != "ok"] == []
    assert {row[0] for row in found} == set(KINDS)
    content = calibrated.read_json("conclusion.json")
    schema = json.loads((data_dir("reports") / "schema" / "conclusion-1.json").read_bytes())
    jsonschema.validate(content, schema)
    # What was compared is there: a fusion, four lines, three questions, every control family.
    support = content["support"][SUSPECT]
    assert [line["line"] for line in support["lines"]] == [
        "fusion", "replication", "span", "sample", "idiosyncrasy",
    ]  # fmt: skip
    assert len(content["validation"][support["pattern"]]["pairs"]) == 3
    kinds = {row["kind"] for row in content["robustness"][SUSPECT]["rows"]}
    assert kinds == {"group", "control-family", "category"}
    assert content["doses"][SUSPECT][0]["curve"]


def test_the_fusion_beside_the_lines_is_the_ratio_of_the_conclusion(calibrated):
    content = calibrated.read_json("conclusion.json")
    for suspect, conclusion in content["suspects"].items():
        fusion = content["support"][suspect]["lines"][0]
        stated = {pair: found["log10_lr"] for pair, found in fusion["pairs"].items()}
        assert stated == conclusion["log10_lr"]
        assert content["robustness"][suspect]["base"]["log10_lr"] == stated


def _line(content):
    return content["support"][SUSPECT]["lines"][3]["pairs"]["imitation:independent"]


def _curves(content):
    pattern = content["support"][SUSPECT]["pattern"]
    return content["validation"][pattern]["pairs"]["imitation:independent"]


def _cap(content):
    _line(content)["bounds"][1] += 0.5


def _interval(content):
    _line(content)["interval"][0] -= 0.01


def _row(content):
    del content["robustness"][SUSPECT]["rows"][5]


def _ratio(content):
    row = content["robustness"][SUSPECT]["rows"][0]
    row["log10_lr"]["imitation:independent"] += 1e-6


def _extreme(content):
    content["robustness"][SUSPECT]["calibration"]["families"] += 1


def _dose(content):
    content["doses"][SUSPECT][0]["curve"][0]["mean"] += 1e-6


def _error(content):
    _curves(content)["misleading"][0]["false_support"]["count"] -= 1


def _cost(content):
    _curves(content)["curves"]["ece"]["lr"][30] -= 1e-6


def _share(content):
    _curves(content)["curves"]["tippett"]["second"][1][0] -= 1e-6


def _correlation(content):
    pattern = content["support"][SUSPECT]["pattern"]
    content["validation"][pattern]["dependence"][0]["correlation"][0][1] += 1e-6


def _median(content):
    pattern = content["support"][SUSPECT]["pattern"]
    content["validation"][pattern]["scores"][4]["median"] += 1e-6


CHANGES = {
    "support": (_cap, _interval, _dose),
    "robustness": (_row, _ratio, _extreme),
    "validation": (_error, _cost, _share, _correlation, _median),
}


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, one) for kind, some in CHANGES.items() for one in some]
)
def test_a_changed_number_is_found(copy, kind, change):
    edited(copy, "conclusion.json", change)
    assert (kind, SUSPECT) in faults(copy)


def test_a_fit_that_was_changed_in_the_calibration_is_found(copy):
    def change(content):
        fold = next(iter(content["fusions"][0]["folds"].values()))
        fold["intercepts"][0] += 3.0

    edited(copy, "calibration.json", change)
    assert ("robustness", SUSPECT) in faults(copy)


def test_a_value_without_one_category_is_recomputed_for_suspect_and_controls(copy):
    again = replay.Replay(replay.Case(copy.data))
    assert list(again.without_faults(SUSPECT)) == []
    for subject in (SUSPECT, "gpt2-00"):

        def change(content, subject=subject):
            values = next(iter(content["without"]["sample-llr@1"].values()))
            values[subject] += 1e-4

        edited(copy, "statistics.json", change)
        again = replay.Replay(replay.Case(copy.data))
        assert any(subject in fault for fault in again.without_faults(SUSPECT))


def test_a_case_of_an_earlier_release_is_named_and_not_passed(copy):
    def change(content):
        for kind in (*KINDS, "doses"):
            del content[kind]

    edited(copy, "conclusion.json", change)
    again = replay.Replay(replay.Case(copy.data))
    found = {outcome for _, _, outcome, _ in replay.check_details(again)}
    assert found == {"not replayable"}


def test_limits_of_a_share_are_those_of_scipy():
    from scipy.stats import binomtest

    for count, total in ((0, 15), (5, 81), (60, 60), (7, 60)):
        exact = binomtest(count, total).proportion_ci(method="exact")
        assert replay.clopper_pearson(count, total) == pytest.approx(
            [exact.low, exact.high], abs=1e-9
        )
