"""Files that follow no rule of `make`, and own words that cannot be used: named, exit code 2."""

import base64
import json

import numpy as np
import pytest
from command_line import auditor, failure
from fingerprint_files import edited

from auditor.canon import digest, json_digest
from auditor.fingerprint.file import packed


def agreeing(content, **terms):
    """Change terms and say that digest of them which they have."""
    content["terms"].update(terms)
    content["terms_digest"] = json_digest(content["terms"])


def renamed(content, name):
    content["terms"]["suites"][0]["name"] = name
    agreeing(content)


def raw_array(content, name, shape, raw=b""):
    content["arrays"][name] |= {
        "shape": shape,
        "base64": base64.b64encode(raw).decode(),
        "digest": digest(raw),
    }


def emptied(content, **terms):
    """Leave no position, as which any number of projections has its shape."""
    agreeing(content, **terms)
    k = content["terms"]["projections"]
    shapes = {"hellinger": [0, k], "js": [0, 2, k]}
    for name in ("probe", "byte_end", "top1", "logp", "hellinger", "js"):
        raw_array(content, name, shapes.get(name, [0]))


def widened(content, k):
    """Say of sketches that they have k numbers."""
    agreeing(content, projections=k)
    rows = content["arrays"]["probe"]["shape"][0]
    content["arrays"]["hellinger"] = packed(np.zeros((rows, k), "<f4"))
    content["arrays"]["js"] = packed(np.zeros((rows, 2, k), "<f4"))


def matrices(content):
    return [row for row in content["tensors"] if row["blocks"]]


def moved_block(content):
    first, second = matrices(content)[:2]
    first["blocks"], second["blocks"] = 7, 9


def fewer_blocks(content):
    matrices(content)[0]["blocks"] = 7
    blocks, numbers = content["arrays"]["tensors"]["shape"]
    content["arrays"]["tensors"] = packed(np.zeros((blocks - 1, numbers), "<f4"))


def layered(content, layer):
    content["tensors"][0]["layer"] = layer


def with_elements(content, count):
    content["tensors"][0]["elements"] = count


CHANGES = {
    "probe without an axis": lambda c: raw_array(c, "probe", [], bytes(4)),
    "hidden without an axis": lambda c: raw_array(c, "hidden", [], bytes(4)),
    "hidden without columns": lambda c: raw_array(c, "hidden", [40, 0]),
    "a huge axis": lambda c: raw_array(c, "hidden", [40, 2**31]),
    "floats as axes": lambda c: c["arrays"]["js"].update(
        shape=list(map(float, c["arrays"]["js"]["shape"]))
    ),
    "base64 beyond ASCII": lambda c: c["arrays"]["js"].update(base64="é" * 8),
    "a seed beyond 2**53": lambda c: c["terms"].update(seed=2**53),
    "a float as a seed": lambda c: c["terms"].update(seed=0.0),
    "half a character in a suite": lambda c: c["terms"]["suites"][0].update(name="\ud800"),
    "a long suite": lambda c: renamed(c, "a" * 5000),
    "a path as a suite": lambda c: renamed(c, "../ood"),
    "half a character in the name": lambda c: c.update(name="\ud800"),
    "half a character in the architecture": lambda c: c["subject"].update(architecture="\ud800"),
    "a long name": lambda c: c.update(name="n" * 201),
    "an endless number": lambda c: c["subject"].update(parameters=float("inf")),
    "a layer beyond int32": lambda c: layered(c, 2**31),
    "elements beyond the shape": lambda c: with_elements(c, 2**40),
    "elements beyond int64": lambda c: with_elements(c, 2**62),
    "a moved block": moved_block,
    "fewer blocks": fewer_blocks,
    "no sums of tensors": lambda c: c["arrays"].pop("tensors"),
    "sums of no tensors": lambda c: (c.update(tensors=[]), raw_array(c, "tensors", [0, 32])),
    "a tensor twice": lambda c: c["tensors"].append(
        {**c["tensors"][0], "blocks": 0, "shape": [99], "elements": 99}
    ),
    "no position": emptied,
    "projections of no size": lambda c: emptied(c, projections=2**40),
    "projections that do not divide": lambda c: widened(c, 300),
    "too many projections": lambda c: widened(c, 8448),
    "too many positions": lambda c: agreeing(c, positions=65_537),
    "too many sums": lambda c: agreeing(c, tensor_projections=4097),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_hostile_file_is_refused_and_named(files, tmp_path, name):
    path = edited(files["teacher"], tmp_path / "hostile.json", CHANGES[name])
    out = tmp_path / "out.json"
    done = auditor("fingerprint", "compare", path, path, "--out", out, "--json")
    assert "hostile.json" in failure(done)["message"]
    assert not out.exists()
    done = auditor("fingerprint", "check", path, "tiny:teacher", "--json")
    assert "hostile.json" in failure(done)["message"]


@pytest.mark.parametrize("seed", [2**53, -(2**53)])
def test_a_seed_that_json_does_not_keep_is_refused(tmp_path, seed):
    words = ("tiny:teacher", "--out", tmp_path / "f", f"--seed={seed}", "--json")
    assert "--seed" in failure(auditor("fingerprint", "make", *words))["message"]


def test_no_draw_goes_beyond_the_last_seed():
    last = 2**53 - 1
    words = ("tiny:sibling", "tiny:teacher", "--seed", last, "--draws", 2, "--json")
    error = failure(auditor("fingerprint", "precision", *words))
    assert f"seed {2**53}" in error["message"]
    assert str(last) in error["hint"]


@pytest.mark.parametrize("name", ["", "a\udcff", "n" * 201])
def test_a_name_that_no_file_can_hold_is_refused_before_the_model_is_run(tmp_path, name):
    out = tmp_path / "f.json"
    done = auditor("fingerprint", "make", "no-such-model", "--name", name, "--out", out, "--json")
    error = failure(done)
    assert "name" in error["message"]
    assert "200" in error["hint"]


def test_the_longest_name_can_be_read_back(made, tmp_path):
    path = made(tmp_path, "tiny:teacher", "n", "--name", "n" * 200, "--probes", "2")
    assert auditor("fingerprint", "compare", path, path).code == 0


@pytest.mark.parametrize("place", ["suspect", "reference", "control", "link"])
def test_a_result_replaces_none_of_its_inputs(files, tmp_path, place):
    paths = {}
    for name, model in zip(("suspect", "reference", "control"), files, strict=True):
        paths[name] = edited(files[model], tmp_path / f"{name}.json", lambda _: None)
    (tmp_path / "link").symlink_to(paths["suspect"])
    out = paths.get(place, tmp_path / "link")
    before = out.read_bytes()
    words = (paths["suspect"], paths["reference"], "--control", paths["control"])
    error = failure(auditor("fingerprint", "compare", *words, "--out", out, "--json"))
    assert (str(out) in error["message"], out.read_bytes()) == (True, before)
    assert json.loads(before)["name"] in files
