"""The reading of fingerprints: an audit's rules, as far as error rates were measured."""

import copy
import json

import pytest
from command_line import auditor
from scipy.stats import beta

from auditor.controls.transforms import quantise
from auditor.data import data_dir
from auditor.fingerprint.judging import MOST_FALSE, judged, measured_rates
from auditor.judge.findings import Decisive, Evidence
from auditor.judge.null import standing
from auditor.judge.reading import conclude

FEW = ("--suite", "ood", "--suite", "continuations", "--probes", "24", "--positions", "16")


def conclusion(*words):
    done = auditor("fingerprint", "compare", *words, "--json")
    assert done.code == 0, done.err + done.out
    return done.json["conclusion"]


def test_equal_tensors_are_read_as_replication_without_controls(files):
    found = conclusion(files["teacher"], files["teacher"])
    assert found["reading"] == "replication"
    assert "re-derived: 100.0% of the tested weights" in found["basis"]
    assert any("rederived-share on sketches, measured on" in limit for limit in found["limits"])
    assert any("8.8%" in limit for limit in found["limits"])  # sqrt(2 / 256)


def test_without_controls_similarity_is_no_verdict(files):
    found = conclusion(files["sibling"], files["teacher"])
    assert (found["reading"], found["basis"]) == ("inconclusive", "uncontrolled similarity")
    assert found["log10_lr"] is None


def test_a_rounded_copy_beside_controls_is_imitation_or_replication_and_no_more(
    folder, made, tmp_path
):
    copied = quantise("tiny:zoo/reference-00", tmp_path / "copy", bits=4)
    ours = made(folder, "tiny:zoo/reference-00", "r", *FEW)
    numbers = ("00", "01", "02", "05", "07", "10", "12")
    paths = [made(folder, f"tiny:zoo/same-data-{i}", f"c{i}", *FEW) for i in numbers]
    controls = [word for path in paths for word in ("--control", path)]
    found = conclusion(made(folder, copied, "copy", *FEW), ours, *controls)
    assert found["reading"] == "inconclusive"
    assert found["basis"].startswith("imitation or replication: where the reference is unlike")
    told = next(one for one in found["limits"] if one.startswith("idiosyncratic-agreement on"))
    assert "it errs in 1 of 18 (95 %: 0.1% to 27.3%) unlinked families" in told
    assert "4 of 4 (95 %: 39.8% to 100.0%) families of finetune" in told


IMITATED = Evidence(
    families=8,
    architecture="llama",
    alike=8,
    copy_excluded="different widths",
    imitation=(
        Decisive(
            name="idiosyncratic-agreement",
            place=standing(0.9, [0.2, 0.21, 0.22, 0.2, 0.19, 0.23, 0.21, 0.2], "higher"),
            p=1e-6,
        ),
    ),
)


def with_rate(high):
    rates = copy.deepcopy(measured_rates())
    rates["readings"]["imitation"] = {"count": 0, "families": 9, "interval": [0.0, high]}
    return rates


def test_a_reading_whose_errors_were_not_counted_is_not_given():
    assert conclude(IMITATED).reading == "imitation"
    found = judged(IMITATED, measured_rates())
    assert found.reading == "inconclusive"
    assert "get this reading from sketches was not measured" in found.basis


def test_a_reading_is_given_up_to_the_limit_of_its_error_rate():
    assert judged(IMITATED, with_rate(MOST_FALSE)).reading == "imitation"
    found = judged(IMITATED, with_rate(MOST_FALSE + 0.001))
    assert found.reading == "inconclusive"
    assert "get this reading from sketches may be 5.1%" in found.basis


def counted(rows, test, linked):
    """Return (families that err, families) from the rows of single models."""
    outcomes = {}
    for row in rows:
        said = test(row)
        if (row["role"] in ("replication", "imitation")) == linked and said is not None:
            outcomes[row["family"]] = outcomes.get(row["family"], False) or said
    return sum(outcomes.values()), len(outcomes)


def test_the_published_rates_follow_from_the_models_and_the_exact_limits():
    rates = measured_rates()
    rows = rates["models"]
    defined = [row for row in rows if row["rederived_share"] is not None]
    found = {test["name"]: test["false"] for test in rates["tests"]}
    wrong, families = counted(defined, lambda r: r["rederived_share"] >= 0.5, linked=False)
    assert (found["rederived-share"]["count"], found["rederived-share"]["families"]) == (
        wrong,
        families,
    )
    # One control alone is under 1 % (and closest of all): same-data-14.
    wrong, families = counted(
        [row for row in rows if row["idiosyncratic_p"] is not None],
        lambda r: r["idiosyncratic_p"] < 0.01,
        linked=False,
    )
    test = found["idiosyncratic-agreement"]
    assert (test["count"], test["families"]) == (wrong, families) == (1, 18)
    # Clopper & Pearson by the beta distribution of scipy.
    expected = [beta.ppf(0.025, 1, 18), beta.ppf(0.975, 2, 17)]
    assert test["interval"] == pytest.approx(expected)


def test_no_model_of_the_locked_half_was_counted_on_sketches():
    folder = data_dir("probes") / "packs" / "zoo"
    lines = (folder / "scores.jsonl").read_text().splitlines()
    locked = {row["name"] for row in map(json.loads, lines) if row["split"] == "locked"}
    shipped = [row["name"] for row in measured_rates()["models"] if row["kind"] == "shipped"]
    assert len(shipped) == 22
    assert not locked & set(shipped)


def test_the_bound_counts_the_families_of_the_whole_files():
    rows = map(
        json.loads,
        (data_dir("probes") / "packs" / "zoo" / "scores.jsonl").read_text().splitlines(),
    )
    unlinked = [row for row in rows if row["role"] in ("independent", "sibling")]
    shares = [r for r in unlinked if "rederived-share@1" in r["scores"]]
    assert max(row["scores"]["rederived-share@1"]["value"] for row in shares) < 0.5
    bound = measured_rates()["readings"]["replication"]
    assert (bound["count"], bound["families"]) == (0, len({row["family"] for row in shares}))
    assert bound["interval"][1] == pytest.approx(1 - 0.025 ** (1 / bound["families"]))
