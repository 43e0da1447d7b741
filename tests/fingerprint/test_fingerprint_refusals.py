"""What is refused or left out where fingerprints meet: other terms or tokens, kin, tampering."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fingerprint_files import written

from auditor.canon import json_digest
from auditor.errors import InputError
from auditor.fingerprint.comparing import compare_fingerprints, projection_errors
from auditor.fingerprint.file import Fingerprint, read_fingerprint
from auditor.fingerprint.judging import MOST_FALSE
from auditor.fingerprint.pairs import Comparison, Member, kept_columns, labelled, same_tokenizer
from auditor.fingerprint.plan import GROUPS, Agreed, probes_of, terms_of
from auditor.fingerprint.weights import merge_rows, rederivation_rows
from auditor.progress import Silent

AGREED = Agreed(suites=("ood",), probes=3, positions=4)
TERMS = terms_of(AGREED)


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
        ("projections", 8192 + 256),
        ("positions", 65_537),
        ("tensor_projections", 4097),
        ("seed", 2**53),
        ("seed", -(2**53)),
        ("probes", 0),
        ("positions", 0),
        ("tensor_projections", -1),
    ],
)
def test_sizes_that_cannot_be_used_are_refused(name, value):
    with pytest.raises(InputError):
        terms_of(dataclasses.replace(AGREED, **{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("projections", 8192),
        ("positions", 65_536),
        ("tensor_projections", 4096),
        ("seed", 2**53 - 1),
        ("seed", 1 - 2**53),
    ],
)
def test_the_largest_sizes_can_be_agreed_on(name, value):
    assert terms_of(dataclasses.replace(AGREED, **{name: value})).content[name] == value


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


@pytest.mark.parametrize(
    ("suspect", "labels"),
    [
        # Numbers are places: reference 1, suspect 2, controls 3 to 5.
        ("suspect", ["ours", "suspect", "model-3", "model-4", "model-5"]),
        ("model-3", ["ours", "model-3", "model-4", "model-5", "model-6"]),
        ("model", ["ours", "model-2", "model-3", "model-4", "model-5"]),
        ("ours", ["ours-1", "ours-2", "model-3", "model-4", "model-5"]),
    ],
)
def test_no_name_takes_the_label_of_another(small, suspect, labels):
    def named(name):
        content = {**small["teacher"].content, "name": name}
        return dataclasses.replace(small["teacher"], content=content)

    roles = ["reference", "suspect", *["independent"] * 3]
    names = ["ours", suspect, "model", "model", "model"]
    found = labelled([(role, named(name)) for role, name in zip(roles, names, strict=True)])
    assert [member.label for member in found] == labels


def test_a_replica_is_no_parent_of_a_merge(small):
    reference, free = small["teacher"], changed(small["sibling"], digest="sha256:" + "2" * 64)
    suspect = member(small["sibling"], "suspect", "suspect")
    others = [member(free, "copy", "replication"), member(free, "parent"), suspect]
    _, parents = merge_rows(member(reference, "reference", "reference"), suspect, others)
    assert parents == ("reference", "parent")
    found, parents = merge_rows(member(reference, "reference", "reference"), suspect, [suspect])
    assert ("nothing to mix with" in found, parents) == (True, ())


def test_a_block_moved_between_two_tensors_is_another_layout(small):
    rows = json.loads(json.dumps(small["sibling"].content["tensors"]))
    first, second = [row for row in rows if row["blocks"]][:2]
    first["blocks"], second["blocks"] = first["blocks"] - 1, second["blocks"] + 1
    moved = dataclasses.replace(
        small["sibling"], content={**small["sibling"].content, "tensors": rows}
    )
    suspect = member(moved, "suspect", "suspect")
    found, _ = merge_rows(member(small["teacher"], "reference", "reference"), suspect, [suspect])
    assert found == "the shapes are not the reference's"


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
