"""The measures on fingerprints: their values beside those on whole distributions."""

import pytest
from command_line import auditor, failure
from fingerprint_files import TERMS

from auditor.fingerprint.plan import Agreed
from auditor.fingerprint.precision import precision_rows

AGREED = Agreed(suites=("continuations", "ood"), probes=40, positions=16)


def compared(*words):
    done = auditor("fingerprint", "compare", *words, "--json")
    assert done.code == 0, done.err + done.out
    return done.json


def rows(result):
    return {row["measure"].partition("@")[0]: row for row in result["measurements"]}


def test_a_model_is_itself(files):
    found = rows(compared(files["teacher"], files["teacher"]))
    expected = {
        "logit-js": 0.0,
        "logit-hellinger": 0.0,
        "logit-top1": 1.0,
        "hidden-cka": 1.0,
        "hidden-mutual-knn": 1.0,
        "rederived-share": 1.0,
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("suspect", ["sibling", "independent"])
def test_sketched_values_are_near_the_full_ones_by_the_error_that_is_stated(files, suspect):
    found = rows(compared(files[suspect], files["teacher"]))
    full = precision_rows((f"tiny:{suspect}", "tiny:teacher"), AGREED, [256])
    for row in full:
        own = found[row["measure"]]
        assert own["value"] == pytest.approx(row["sketched"], rel=1e-5), row["measure"]
        # Equal buckets of unequal tokens: 1 in 256 positions.
        stated = own["projection_error"] or 0.01
        assert abs(own["value"] - row["full"]) < 4 * stated, row["measure"]
        assert own["projection_error"] is None or own["projection_error"] < 0.2


def test_more_projections_lose_less():
    found = precision_rows(("tiny:sibling", "tiny:teacher"), AGREED, [256, 4096], draws=4)
    error = {(row["measure"], row["projections"]): row["rms_error"] for row in found}
    # sqrt(2/k): a factor of 4; the mean of 4 squares scatters by a third.
    for name in ("logit-js", "logit-hellinger"):
        assert error[name, 4096] < 0.6 * error[name, 256]


def test_what_fingerprints_do_not_hold_is_undefined_with_its_reason(files):
    found = rows(compared(files["sibling"], files["teacher"]))
    for row in found.values():
        assert (row["value"] is None) == bool(row["undefined"])
    assert "no distance that a random projection keeps" in found["logit-kl-forward"]["undefined"]
    assert "no text leaves" in found["text-chrf"]["undefined"]
    assert "order of the tokens" in found["logit-rank"]["undefined"]


def test_controls_place_a_suspect_and_enter_the_pool(files, folder, made):
    few = ("--suite", "ood", "--probes", "12", "--positions", "16")
    numbers = ("00", "01", "02", "05", "07")
    zoo = [made(folder, f"tiny:zoo/same-data-{i}", f"zoo-{i}", *few) for i in numbers]
    ours = made(folder, "tiny:zoo/reference-00", "zoo-reference", *few)
    controls = [word for path in zoo[1:] for word in ("--control", path)]
    found = rows(compared(zoo[0], ours, *controls))
    assert found["logit-js"]["rank_p"] in (0.2, 0.4, 0.6, 0.8, 1.0)
    assert len(found["logit-js"]["control_values"]) == 4
    assert 0 <= found["idiosyncratic-agreement"]["value"] <= 1
    assert found["residual-correlation"]["loss"] == "none"
    assert -1 <= found["residual-correlation"]["value"] <= 1


def test_the_shares_of_a_merge_follow_from_sketches(files, folder, made, merged):
    path = made(folder, merged, "merged")
    found = rows(compared(path, files["teacher"], "--control", f"{files['sibling']}=sibling"))
    assert found["merge-share"]["value"] == pytest.approx(0.7, abs=1e-3)
    low, high = found["merge-share"]["interval"]
    assert low <= 0.7 <= high
    # Norms apart, no tensor of a merge is the reference's.
    assert found["rederived-share"]["value"] < 0.01


def test_other_tokenizers_give_a_reason_and_what_needs_no_shared_tokens(
    files, folder, made, bpe_model
):
    found = rows(compared(made(folder, bpe_model, "bpe"), files["teacher"]))
    for name in ("logit-js", "logit-hellinger", "logit-top1", "idiosyncratic-agreement"):
        assert "different vocabularies" in found[name]["undefined"], name
    assert "400 token ids of bpe" in found["logit-js"]["undefined"]
    for name in ("hidden-cka", "hidden-mutual-knn"):
        assert found[name]["value"] is not None, name
    assert found["hidden-cka"]["value"] < 0.95


def test_files_of_other_terms_are_refused_by_name(files, folder, made):
    other = made(folder, "tiny:sibling", "seeded", *TERMS, "--seed", "3")
    error = failure(auditor("fingerprint", "compare", other, files["teacher"], "--json"))
    assert "different terms" in error["message"]
    assert "seed" in error["message"]


@pytest.mark.parametrize(
    ("expression", "code"),
    [("logit-js < 0.6", 3), ("logit-js < 0.001", 0), ("logit-kl-forward < 1", 4)],
)
def test_the_gate_decides_the_exit_code(files, expression, code):
    done = auditor(
        "fingerprint", "compare", files["sibling"], files["teacher"], "--fail-on", expression
    )
    assert done.code == code, done.err


def test_the_result_can_be_kept(files, tmp_path):
    out = tmp_path / "result.json"
    result = compared(files["sibling"], files["teacher"], "--out", out)
    import json

    assert json.loads(out.read_bytes()) == result
