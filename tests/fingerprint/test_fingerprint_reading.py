"""The reading of fingerprints: an audit's rules, as far as error rates were measured."""

import copy
import json

import pytest
from command_line import auditor
from fingerprint_files import digests_of
from scipy.stats import beta

from auditor.controls.members import members_of
from auditor.controls.recipe import load_pack_recipe
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


def test_equal_tensors_are_read_as_replication_without_controls(files, copied):
    pair = (copied, files["teacher"])
    found = conclusion(*pair, *digests_of(*pair))
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
    assert "it errs in 5 of 26 (95 %: 6.6% to 39.4%) unlinked families" in told
    assert "4 of 4 (95 %: 39.8% to 100.0%) families of finetune" in told
    assert "7 of 8 (95 %: 47.3% to 99.7%) families of student-logits-50" in told


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
    # Under 1 % and closest of all: same-data-14, and models made anew on the reference's data.
    wrong, families = counted(
        [row for row in rows if row["idiosyncratic_p"] is not None],
        lambda r: r["idiosyncratic_p"] < 0.01,
        linked=False,
    )
    test = found["idiosyncratic-agreement"]
    assert (test["count"], test["families"]) == (wrong, families) == (5, 26)
    # Clopper & Pearson by the beta distribution of scipy.
    expected = [beta.ppf(0.025, 5, 22), beta.ppf(0.975, 6, 21)]
    assert test["interval"] == pytest.approx(expected)


def test_no_model_of_the_locked_half_was_counted_on_sketches():
    folder = data_dir("probes") / "packs" / "zoo"
    lines = (folder / "scores.jsonl").read_text().splitlines()
    locked = {row["name"] for row in map(json.loads, lines) if row["split"] == "locked"}
    shipped = [row["name"] for row in measured_rates()["models"] if row["kind"] == "shipped"]
    assert len(shipped) == 22
    assert not locked & set(shipped)


def test_no_seed_of_the_recipe_is_one_of_the_packs():
    recipes = (
        data_dir("reports") / "benchmarks" / "fingerprint-models.yaml",
        data_dir("probes") / "packs" / "zoo" / "recipe.yaml",
    )
    ours, theirs = (
        {one.seed for one in members_of(load_pack_recipe(path)) if one.role != "reference"}
        for path in recipes
    )
    assert len(theirs) > 400
    assert not ours & theirs


def test_the_published_shares_of_students_follow_from_the_models():
    rates = measured_rates()
    seen = {kind["kind"]: kind for kind in rates["tests"][0]["seen"]}
    for via in ("logits", "text"):
        for dose in (100, 50, 10):
            kind = f"student-{via}-{dose}"
            rows = [row for row in rates["models"] if row["kind"] == kind]
            told = sum(row["idiosyncratic_p"] < 0.01 for row in rows)
            assert (seen[kind]["count"], seen[kind]["families"]) == (told, 8), kind
            low, high = seen[kind]["interval"]
            if told < len(rows):  # Clopper & Pearson
                assert high == pytest.approx(beta.ppf(0.975, told + 1, len(rows) - told))
            if told:
                assert low == pytest.approx(beta.ppf(0.025, told, len(rows) - told + 1))
    # No student is read as anything, linked or not.
    students = [row for row in rates["models"] if "student" in row["kind"]]
    assert {row["reading"] for row in students} == {"inconclusive"}


def test_the_published_loss_is_small_beside_the_divergence_of_a_student():
    losses = {(row["kind"], row["measure"]): row for row in measured_rates()["precision"]}
    for (_, name), row in losses.items():
        assert row["models"] == len(row["full"]) == len(row["sketched"]) == 1
        if name in ("logit-js", "logit-hellinger"):
            # The root mean square over draws is no smaller than the error of their mean.
            errors = [b - a for a, b in zip(row["full"], row["sketched"], strict=True)]
            mean = (sum(error**2 for error in errors) / len(errors)) ** 0.5
            assert mean <= row["rms_error"] * (1 + 1e-9)
            assert row["rms_error"] < 0.02 * min(row["full"])


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
