"""What is kept of the reference, and how agreement becomes rows."""

import numpy as np
import pytest
from collect_world import collected, plan_of, save_model

from auditor.case import Case
from auditor.collect.agreement import (
    from_stored,
    has_head,
    kept_vocabulary,
    load_head,
    position_rows,
    save_head,
    to_stored,
)
from auditor.collect.forcing import ForcedBatch
from auditor.collect.sequences import ForcedText
from auditor.models.base import Head
from auditor.outputs import TOPK
from auditor.pairing import load_pair
from auditor.stored import read_records


def head_of(dtype, *, bias):
    import torch

    generator = torch.Generator().manual_seed(0)
    # More rows than are written at a time (4096).
    weight = torch.randn(5000, 3, generator=generator).to(dtype)
    shift = torch.randn(5000, generator=generator).to(dtype) if bias else None
    return Head(weight=weight, bias=shift, softcap=30.0 if bias else None, scale=0.5)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("bias", [True, False])
def test_kept_head_comes_back_bit_for_bit(tmp_path, name, bias):
    import torch

    case, head = Case(tmp_path), head_of(getattr(torch, name), bias=bias)
    assert not has_head(case, "ref")
    save_head(case, "ref", head)
    assert has_head(case, "ref")
    assert kept_vocabulary(case, "ref") == 5000
    found = load_head(case, "ref", torch.device("cpu"))
    assert found.weight.dtype == head.weight.dtype
    assert torch.equal(found.weight, head.weight)
    assert (found.bias is None) == (head.bias is None)
    assert head.bias is None or torch.equal(found.bias, head.bias)
    assert (found.softcap, found.scale) == (head.softcap, head.scale)


def test_stored_bfloat16_is_its_sixteen_bits():
    import torch

    tensor = torch.tensor([1.0, -2.0, float("inf")], dtype=torch.bfloat16)
    # Sign, 8 exponent bits, 7 fraction bits: 1.0 = 0 01111111 0000000.
    assert to_stored(tensor).tolist() == [0x3F80, 0xC000, 0x7F80]
    assert torch.equal(from_stored(to_stored(tensor), torch.bfloat16), tensor)


def test_infinite_divergence_is_stored_as_nan():
    import torch

    from auditor.kernels import agreement

    a = torch.zeros(2, 4)
    b = torch.tensor([[0.0, 0.0, 0.0, float("-inf")], [0.0, 0.0, 0.0, 0.0]])
    found = agreement(a, b, torch.tensor([1, 2]), topk=TOPK)
    text = ForcedText(7, np.array([0, 1, 2], dtype=np.int32), 0)
    rows = position_rows(found, ForcedBatch([text], [torch.zeros(3, 1)]))
    assert rows["probe"].tolist() == [7, 7]
    assert rows["token"].tolist() == [1, 2]
    # b excludes a token that a allows: KL(a, b) is infinite, KL(b, a) is ln(4/3).
    assert np.isnan(rows["kl_ab"]).tolist() == [True, False]
    assert rows["kl_ba"][0] == pytest.approx(np.log(4 / 3), rel=1e-6)
    assert rows["argmax_a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        # Every number it gives is NaN: its head cannot be checked against the model.
        ("model.norm.weight", "not a plain unembedding"),
        # Only texts with an "e" give NaN.
        ("model.embed_tokens.weight", "computes NaN"),
    ],
)
def test_broken_model_gives_reasons_and_no_crash(models, tmp_path, tensor, reason):
    from safetensors.torch import load_file, save_file

    folder = save_model(tmp_path / "broken", 5)
    weights = load_file(folder / "model.safetensors")
    where = slice(None) if tensor == "model.norm.weight" else ord("e")
    weights[tensor][where] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    plan = plan_of({"reference": models.reference, "broken": folder}, probes=4, repeats=1)
    case = collected(tmp_path / "case", plan)
    missing = case.read_json("collected/broken.json")["missing"]
    assert reason in missing["positions"]
    assert {"positions", "topk", "hidden"} <= set(missing)
    assert not list(case.data.rglob("*.part"))
    assert len(read_records(case, "broken")) == 4
    assert reason in load_pair(case, "reference", "broken").why["positions"]
