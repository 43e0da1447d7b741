"""What is refused or left out where fingerprints meet: other terms or tokens, kin, tampering."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import auditor

from auditor.canon import json_digest
from auditor.errors import InputError
from auditor.fingerprint import checking
from auditor.fingerprint.checking import check_fingerprint
from auditor.fingerprint.comparing import compare_fingerprints, projection_errors
from auditor.fingerprint.file import Fingerprint, packed, read_fingerprint, write_fingerprint
from auditor.fingerprint.judging import MOST_FALSE
from auditor.fingerprint.pairs import Comparison, Member, kept_columns, same_tokenizer
from auditor.fingerprint.plan import GROUPS, Agreed, probes_of, terms_of
from auditor.fingerprint.weights import merge_rows, rederivation_rows
from auditor.progress import Silent

SMALL = ("--suite", "ood", "--probes", "3", "--positions", "4")
AGREED = Agreed(suites=("ood",), probes=3, positions=4)
TERMS = terms_of(AGREED)


@pytest.fixture(scope="module")
def small(folder, made):
    """Fingerprints of two models on few probes."""
    return {
        name: read_fingerprint(made(folder, f"tiny:{name}", f"small-{name}", *SMALL))
        for name in ("teacher", "sibling")
    }


def changed(one: Fingerprint, **subject: object) -> Fingerprint:
    """Return a fingerprint that says something else of its model."""
    content = {**one.content, "subject": {**one.content["subject"], **subject}}
    return dataclasses.replace(one, content=content)


def member(one: Fingerprint, label: str = "m", role: str = "independent", kin: str | None = None):
    return Member(label=label, role=role, file=one, kin=kin)


def test_a_control_on_other_terms_is_refused_as_the_suspect_is(small):
    terms = terms_of(dataclasses.replace(AGREED, positions=5)).content
    content = {**small["sibling"].content, "terms": terms, "terms_digest": json_digest(terms)}
    other = dataclasses.replace(small["sibling"], content=content, path=Path("other.json"))
    with pytest.raises(InputError, match=r"other\.json were made on different terms: positions"):
        compare_fingerprints(small["sibling"], small["teacher"], [("independent", other)], Silent())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suites", ("continuations",)),
        ("probes", 4),
        ("seed", 1),
        ("projections", 512),
        ("positions", 5),
        ("tensor_projections", 16),
    ],
)
def test_every_term_is_in_the_commitment(name, value):
    assert terms_of(dataclasses.replace(AGREED, **{name: value})).digest != TERMS.digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("projections", 0),
        ("projections", 128),
        ("projections", 300),
        ("probes", 0),
        ("positions", 0),
        ("tensor_projections", -1),
    ],
)
def test_sizes_that_cannot_be_used_are_refused(name, value):
    with pytest.raises(InputError):
        terms_of(dataclasses.replace(AGREED, **{name: value}))


@pytest.mark.parametrize(
    "change", [{"digest": "sha256:" + "0" * 64}, {"probes": ["ood-0002", "ood-9999"]}]
)
def test_probes_of_another_suite_are_refused(change):
    content = json.loads(json.dumps(TERMS.content))
    content["suites"][0].update(change)
    with pytest.raises(InputError, match="not the one of the fingerprint"):
        probes_of(content)


def test_tokens_are_compared_only_where_they_are_known_to_mean_the_same(small):
    ours, theirs = small["teacher"], small["sibling"]
    assert same_tokenizer(member(ours), member(theirs))
    other = changed(theirs, tokenizer_digest="sha256:" + "0" * 64)
    assert not same_tokenizer(member(ours), member(other))
    unknown = [member(changed(one, tokenizer_digest=None)) for one in (ours, theirs)]
    assert not same_tokenizer(*unknown)
    assert not same_tokenizer(member(ours), member(changed(theirs, vocabulary=260)))
    moved = {**theirs.arrays, "byte_end": theirs.arrays["byte_end"] + 1}
    assert not same_tokenizer(member(ours), member(dataclasses.replace(theirs, arrays=moved)))


def test_the_pool_holds_neither_kin_nor_copies_of_the_suspect_nor_linked_models(small):
    suspect = changed(small["sibling"], digest="sha256:" + "1" * 64)
    free = changed(small["sibling"], digest="sha256:" + "2" * 64)
    case = Comparison(
        reference=member(small["teacher"], "reference", "reference"),
        others=(
            member(suspect, "suspect", "suspect", kin="run"),
            member(suspect, "the-same-model"),
            member(free, "kin", kin="run"),
            member(free, "student", "imitation"),
            member(free, "copy", "replication"),
            member(free, "unknown-base", "base"),
            member(free, "free"),
            member(free, "free-sibling", "sibling"),
        ),
        probes=TERMS.probes,
    )
    pool = {control.name for control in case.pair("suspect").pool}
    assert {"free", "free-sibling"} <= pool
    assert pool <= {"free", "free-sibling", "unknown-base"}


def test_a_replica_is_no_parent_of_a_merge(small):
    reference, free = small["teacher"], changed(small["sibling"], digest="sha256:" + "2" * 64)
    suspect = member(small["sibling"], "suspect", "suspect")
    others = [member(free, "copy", "replication"), member(free, "parent"), suspect]
    _, parents = merge_rows(member(reference, "reference", "reference"), suspect, others)
    assert parents == ("reference", "parent")
    found, parents = merge_rows(member(reference, "reference", "reference"), suspect, [suspect])
    assert ("nothing to mix with" in found, parents) == (True, ())


def test_only_tensors_that_say_something_count_as_equal(small):
    def with_tensors(*rows: tuple[str, str, int, bool]) -> Member:
        tensors = [
            {"name": n, "digest": d, "elements": e, "counts": c, "shape": [e]}
            for n, d, e, c in rows
        ]
        content = {**small["teacher"].content, "tensors": tensors}
        return member(dataclasses.replace(small["teacher"], content=content))

    ours = with_tensors(("a", "1", 30, True), ("b", "2", 70, True), ("norm", "0", 900, False))
    theirs = with_tensors(("a", "1", 30, True), ("b", "3", 70, True), ("norm", "0", 900, False))
    row = rederivation_rows(ours, theirs)[0]
    assert (row["elements_equal"], row["elements"]) == (30, 100)
    assert (row["tensors_equal"], row["tensors"]) == (1, 2)


def test_the_error_of_the_projections_is_the_jackknifes(small):
    ours, theirs = (small[name].arrays["js"] for name in ("teacher", "sibling"))
    near = ours + 0.3 * (theirs - ours)  # so near that no estimate is cut to ln 2
    suspect = dataclasses.replace(small["sibling"], arrays={**small["sibling"].arrays, "js": near})
    case = Comparison(
        reference=member(small["teacher"], "reference", "reference"),
        others=(member(suspect, "suspect", "suspect"),),
        probes=TERMS.probes,
    )
    # Of a mean of g equal parts, the jackknife's error is the standard error of the mean.
    each = 0.5 * np.log(2) * np.square(near.astype(np.float64) - ours).sum(axis=1)  # (T, k)
    parts = each.mean(axis=0).reshape(GROUPS, -1).mean(axis=1)  # as many positions in each probe
    expected = parts.std(ddof=1) / np.sqrt(GROUPS)
    found = projection_errors(case, {"logit-js": float(each.mean())})
    assert found["logit-js"] == pytest.approx(expected, rel=1e-6)


def test_every_part_of_the_projections_is_left_out_once():
    left = [set(range(256)) - set(kept_columns(256, part).tolist()) for part in range(GROUPS)]
    assert all(len(part) == 256 // GROUPS for part in left)
    assert set.union(*left) == set(range(256))
    assert kept_columns(256, None).tolist() == list(range(256))


def test_the_conclusion_states_what_a_fingerprint_cannot_show_and_the_loss_of_each_value(small):
    found = compare_fingerprints(small["sibling"], small["teacher"], [], Silent(), resamples=0)
    told = " ".join(found["conclusion"]["limits"])
    for words in ("Nothing shows that a fingerprint was made of", "no reply", "by their digests"):
        assert words in told
    loss = {row["measure"].partition("@")[0]: row["loss"] for row in found["measurements"]}
    assert loss["logit-js"] == loss["logit-hellinger"] == "projections"
    assert (loss["logit-top1"], loss["rederived-share"]) == ("buckets", "lower limit")
    assert loss["text-chrf"] is None


def test_five_per_cent_are_asked():
    assert MOST_FALSE == 0.05


def written(one: Fingerprint, path: Path, **arrays: np.ndarray) -> Path:
    content = json.loads(json.dumps(one.content))
    content["arrays"].update({name: packed(values) for name, values in arrays.items()})
    write_fingerprint(path, content)
    return path


@pytest.mark.parametrize("number", [-1, 3])
def test_a_row_of_a_probe_that_there_is_not_is_refused(small, tmp_path, number):
    probe = small["teacher"].arrays["probe"].copy()
    probe[0] = number
    path = written(small["teacher"], tmp_path / "f.json", probe=probe)
    with pytest.raises(InputError, match="a probe that there is not"):
        read_fingerprint(path)


@pytest.mark.parametrize("name", ["hidden", "tensors", "byte_end", "top1"])
def test_arrays_of_another_length_are_refused(small, tmp_path, name):
    short = small["teacher"].arrays[name][:-1]
    path = written(small["teacher"], tmp_path / "f.json", **{name: short})
    with pytest.raises(InputError, match=f"{name} of .* has the shape"):
        read_fingerprint(path)


def check(small, tmp_path, **arrays):
    given = read_fingerprint(written(small["teacher"], tmp_path / "f.json", **arrays))
    return check_fingerprint(given, "tiny:teacher", Silent(), device="cpu")


def test_numbers_that_were_changed_are_found_and_rounding_is_not(small, tmp_path):
    ours = small["teacher"].arrays
    js, top1 = ours["js"].copy(), ours["top1"].copy()
    js.flat[5] += 0.01 * np.abs(js).max()
    top1[0] ^= 1
    found = check(small, tmp_path, js=js, top1=top1, byte_end=ours["byte_end"] + 1)
    assert not found["same"]
    assert found["differences"] == dict.fromkeys(("js", "top1", "byte_end"), "holds other numbers")
    rounded = ours["js"] * np.float32(1 + 1e-5)
    assert check(small, tmp_path, js=rounded)["differences"] == {}


def test_places_must_agree_exactly_however_much_numbers_may_differ(small, tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "TOLERANCE", 0.9)
    ours = small["teacher"].arrays
    probe = ours["probe"].copy()
    probe[0] = 1
    moved = {"byte_end": ours["byte_end"] + 1, "probe": probe, "logp": ours["logp"] * 1.1}
    found = check(small, tmp_path, **{k: v.astype(ours[k].dtype) for k, v in moved.items()})
    assert found["differences"] == dict.fromkeys(("byte_end", "probe"), "holds other numbers")


def test_a_claim_to_lack_weights_is_found(small, tmp_path):
    content = json.loads(json.dumps(small["teacher"].content))
    content["missing"] = {"tensors": "none"}
    path = tmp_path / "f.json"
    write_fingerprint(path, content)
    done = auditor("fingerprint", "check", path, "tiny:teacher", "--json")
    assert (done.code, done.json["differences"]) == (5, {"missing": "differs"})
