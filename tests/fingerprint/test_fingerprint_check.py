"""A fingerprint made again by who has the model."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import auditor
from fingerprint_files import SMALL, edited, written

from auditor.fingerprint import checking
from auditor.fingerprint.checking import check_fingerprint
from auditor.fingerprint.file import read_fingerprint
from auditor.progress import Silent

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))


def test_a_fingerprint_can_be_checked_by_who_has_the_model(files):
    assert auditor("fingerprint", "check", files["teacher"], "tiny:teacher").code == 0
    done = auditor("fingerprint", "check", files["teacher"], "tiny:sibling", "--json")
    assert done.code == 5
    assert {"subject", "tensors", "js", "hidden"} <= set(done.json["differences"])


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


def test_a_claim_to_lack_weights_is_found(files, tmp_path):
    def change(content):
        content["missing"] = {"tensors": "none"}

    path = edited(files["teacher"], tmp_path / "f.json", change)
    done = auditor("fingerprint", "check", path, "tiny:teacher", "--json")
    assert (done.code, done.json["differences"]) == (5, {"missing": "differs"})


@pytest.fixture
def unplaced(tmp_path) -> Path:
    """A GGUF model with a tensor whose place is not known, in a folder with a telling name."""
    pytest.importorskip("gguf")
    import torch
    from test_gguf_files import llama_metadata, llama_tensors, write
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=272,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    with torch.no_grad():
        found = llama_tensors(LlamaForCausalLM(config))
    tensors = {name: (np.ascontiguousarray(one), kind) for name, (one, kind) in found.items()}
    tensors["blk.0.attn_sub_norm.weight"] = (np.ones(32, np.float32), None)
    (tmp_path / "of-a-customer").mkdir()
    return write(tmp_path / "of-a-customer" / "m.gguf", llama_metadata(), tensors)


def test_why_weights_are_missing_names_no_path_and_is_the_same_elsewhere(unplaced, made, tmp_path):
    path = made(tmp_path, unplaced, "odd", *SMALL)
    assert list(json.loads(path.read_bytes())["missing"]) == ["tensors"]
    assert b"of-a-customer" not in path.read_bytes()
    moved = unplaced.rename(tmp_path / "m.gguf")
    done = auditor("fingerprint", "check", path, moved, "--json")
    assert (done.code, done.json["differences"]) == (0, {})


def test_the_words_why_something_is_missing_are_not_compared(unplaced, made, tmp_path):
    def change(content):
        content["missing"] = {"tensors": "in other words"}

    path = edited(made(tmp_path, unplaced, "odd", *SMALL), tmp_path / "f.json", change)
    assert auditor("fingerprint", "check", path, unplaced).code == 0
