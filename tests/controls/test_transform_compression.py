import json

import pytest
import torch
from transform_models import gpt2, llama, logits, weights

from auditor.controls.transforms import cast, merge, permute, prune, rotate
from auditor.controls.transforms_compression import narrowed, pruned, quantised
from auditor.controls.transforms_merging import Merge
from auditor.errors import CaseError, InputError
from auditor.kernels.weight_forms import pruned as zeroed
from auditor.models import identify
from auditor.models.loading import load_transformers

SOURCE = "tiny:teacher"


def test_the_smallest_weights_of_each_matrix_are_dropped():
    module = llama(1)
    thin = weights(pruned(module, 0.3))
    for name, value in weights(module).items():
        if value.ndim == 1 or "embed" in name or "lm_head" in name:
            assert torch.equal(thin[name], value)
            continue
        gone = thin[name] == 0
        assert int(gone.sum()) == round(0.3 * value.numel())
        assert torch.equal(thin[name][~gone], value[~gone])
        assert float(value[gone].abs().max()) <= float(value[~gone].abs().min())


def test_equals_go_together():
    # Two of four are asked for; the second smallest magnitude occurs twice, so three go.
    found = zeroed(torch.tensor([[3.0, -1.0, 1.0, 0.5]]), 2)
    assert found.tolist() == [[3.0, 0.0, 0.0, 0.0]]
    assert zeroed(torch.tensor([0.0, 2.0]), 0).tolist() == [0.0, 2.0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cast_model_holds_the_nearest_numbers_of_the_type(dtype):
    module = gpt2(1)
    found = weights(narrowed(module, dtype))
    for name, value in weights(module).items():
        assert found[name].dtype == getattr(torch, dtype)
        assert torch.equal(found[name], value.to(getattr(torch, dtype)))


def test_a_weight_beyond_the_type_is_named():
    module = llama(1)
    with torch.no_grad():
        module.model.norm.weight[0] = 1e6
    with pytest.raises(InputError, match=r"norm\.weight does not fit into float16"):
        narrowed(module, "float16")


def test_in_memory_forms_leave_their_argument_alone():
    module = llama(1)
    before = {name: value.clone() for name, value in weights(module).items()}
    for changed in (pruned(module, 0.5), narrowed(module), quantised(module, 4)):
        assert not torch.equal(logits(changed.float()), logits(module))
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(InputError, match="--share"):
        pruned(llama(1), share)
    with pytest.raises(InputError, match="no narrow type"):
        narrowed(llama(1), "float8")


def test_every_folder_form_opens_and_says_what_it_is(tmp_path):
    prune(SOURCE, tmp_path / "p", share=0.5)
    cast(SOURCE, tmp_path / "c", dtype="bfloat16")
    permute(SOURCE, tmp_path / "o", parts="full", seed=1)
    rotate(SOURCE, tmp_path / "r", seed=1)
    how = Merge(weights=(0.7, 0.3))
    merge(SOURCE, tmp_path / "m", others=["tiny:sibling"], how=how)
    again = merge(SOURCE, tmp_path / "n", others=["tiny:sibling"], how=how)
    digests = {folder.name: identify(str(folder)).digest for folder in tmp_path.iterdir()}
    assert digests["m"] == digests["n"] == identify(str(again)).digest
    assert len(set(digests.values())) == 5
    types = {path: json.loads((tmp_path / path / "config.json").read_text()) for path in "cm"}
    assert (types["c"]["dtype"], types["m"]["dtype"]) == ("bfloat16", "float32")
    source, turned = (load_transformers(spec).module for spec in (SOURCE, str(tmp_path / "o")))
    torch.testing.assert_close(logits(turned), logits(source), atol=1e-4, rtol=0)
    with pytest.raises(CaseError, match="not empty"):
        prune(SOURCE, tmp_path / "p")
