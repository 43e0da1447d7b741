"""No reading from what one party may have copied out of the other's file."""

import copy
import hashlib
import json

import numpy as np
import pytest
from command_line import auditor, failure
from fingerprint_files import TERMS, digests_of, edited

from auditor.fingerprint.file import packed, read_fingerprint

COPY = "reading == replication"


def compared(suspect, reference, *words):
    done = auditor("fingerprint", "compare", suspect, reference, *words, "--json")
    return done.code, done.json


def forged(files, path, *names):
    """Return the teacher's fingerprint with rows, and arrays of these names, of the sibling's."""
    theirs = json.loads(files["sibling"].read_bytes())

    def change(content):
        content["tensors"] = copy.deepcopy(theirs["tensors"])
        content["arrays"].update({name: theirs["arrays"][name] for name in names})

    return edited(files["teacher"], path, change)


def test_the_digest_to_send_is_that_of_the_file(tmp_path):
    out = tmp_path / "ours.json"
    done = auditor("fingerprint", "make", "tiny:teacher", "--out", out, *TERMS, "--json")
    assert done.json["file_digest"] == f"sha256:{hashlib.sha256(out.read_bytes()).hexdigest()}"
    other = tmp_path / "other.json"
    told = auditor("fingerprint", "make", "tiny:teacher", "--out", other, *TERMS).out
    assert f"{done.json['file_digest']}: send this first" in told  # the same name: the same file


def test_without_digests_equal_tensors_are_no_reading(files, copied):
    code, found = compared(copied, files["teacher"], "--fail-on", COPY)
    assert (code, found["committed"]) == (0, False)
    assert found["conclusion"]["reading"] == "inconclusive"
    assert "re-derived: 100.0%" in found["conclusion"]["basis"]
    assert "no digests that were exchanged before" in found["conclusion"]["basis"]
    assert any("exchanged before the files" in limit for limit in found["conclusion"]["limits"])


def test_with_digests_they_are_and_the_gate_says_so(files, copied):
    pair = (copied, files["teacher"])
    code, found = compared(*pair, *digests_of(*pair), "--fail-on", COPY)
    assert (code, found["committed"]) == (3, True)
    assert not any("exchanged before the files" in limit for limit in found["conclusion"]["limits"])


@pytest.mark.parametrize("given", ["suspect", "reference"])
def test_a_file_whose_digest_was_not_exchanged_is_refused(files, given):
    pair = {"suspect": files["sibling"], "reference": files["teacher"]}
    words = digests_of(pair.pop(given))
    done = auditor("fingerprint", "compare", files["sibling"], files["teacher"], *words, "--json")
    error = failure(done)
    (other,) = pair.values()
    assert str(other) in error["message"]
    assert digests_of(other)[1] in error["message"]
    assert "ask for the file of that digest" in error["hint"]


def test_controls_need_no_digest(files):
    pair = (files["sibling"], files["teacher"])
    code, found = compared(*pair, *digests_of(*pair), "--control", files["independent"])
    assert (code, len(found["controls"])) == (0, 1)


def test_the_other_partys_file_sent_back_is_no_reading(files):
    path = files["teacher"]
    _, found = compared(path, path, *digests_of(path))
    assert found["conclusion"]["reading"] == "inconclusive"
    assert "one and the same file" in found["conclusion"]["basis"]


@pytest.mark.parametrize(
    ("names", "why"),
    [((), "has equal digests and unequal sums"), (("tensors",), "the distributions are apart")],
)
def test_copied_rows_contradict_what_was_not_copied(files, tmp_path, names, why):
    pair = (files["sibling"], forged(files, tmp_path / "forged.json", *names))
    code, found = compared(*pair, *digests_of(*pair), "--fail-on", COPY)
    assert (code, found["conclusion"]["reading"]) == (0, "inconclusive")
    assert why in found["conclusion"]["basis"]


def test_the_rounding_of_another_machine_contradicts_nothing(files, copied, tmp_path):
    arrays = read_fingerprint(copied).arrays

    def change(content):
        for name in ("tensors", "js"):
            rounded = arrays[name] * np.float32(1 + 1e-5)
            content["arrays"][name] = packed(rounded)

    pair = (files["teacher"], edited(copied, tmp_path / "rounded.json", change))
    _, found = compared(*pair, *digests_of(*pair))
    assert found["conclusion"]["reading"] == "replication"
