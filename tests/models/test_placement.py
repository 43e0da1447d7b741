"""Models whose modules are spread over memory and the disk: the same model, bit for bit."""

import numpy as np
import pytest
import torch

from auditor.models import open_model
from auditor.models.placement import placed_modules
from auditor.models.projections import final_norm, mlps_of, query_key_of
from auditor.models.tiny import tiny_folder
from auditor.types import Decoding, Probe

ARCHITECTURES = ("llama", "gpt2", "gemma2", "granite", "cohere", "phi")
SEQUENCES = [[5, 6, 7, 8, 9], [70, 80], [1, 2, 3]]
PROBES = [Probe(id="a", category="x", text="Once upon"), Probe(id="b", category="x", text="The")]


def layers_of(folder):
    """The prefix of the layers of a saved model."""
    return "transformer.h" if folder.name == "gpt2" else "model.layers"


@pytest.fixture(scope="module")
def tied():
    """A model whose head and embeddings are one weight; four layers."""
    return open_model("tiny:teacher", device="cpu", batch_tokens=128)


def on_disk(model):
    return [name for name, weight in model.module.named_parameters() if weight.is_meta]


def assert_same_outputs(ours, theirs):
    for a, b in zip(ours.hidden(SEQUENCES), theirs.hidden(SEQUENCES), strict=True):
        assert torch.equal(a, b)
    ids = torch.tensor([SEQUENCES[0]])
    with torch.inference_mode():
        logits = [model.module(input_ids=ids, use_cache=False).logits for model in (ours, theirs)]
    assert torch.equal(*logits)
    for a, b in zip(ours.score(["Hello there"]), theirs.score(["Hello there"]), strict=True):
        assert np.array_equal(a.logprobs, b.logprobs)
    drawn = [list(m.sample(PROBES, 2, Decoding(max_new_tokens=6), 3)) for m in (ours, theirs)]
    assert drawn[0] == drawn[1]
    assert ours.shares_prefixes == theirs.shares_prefixes
    after = [m.hidden_after([1, 2, 3], [[4, 5], [6]]) for m in (ours, theirs)]
    assert all(torch.equal(a, b) for a, b in zip(*after, strict=True))


def assert_same_weights(ours, theirs):
    for (a, x), (b, y) in zip(ours.tensors(), theirs.tensors(), strict=True):
        assert a == b
        assert np.array_equal(x, y)
    assert torch.equal(ours.head().weight, theirs.head().weight)
    width = ours.head().weight.shape[1]
    gains = [final_norm(m.module, width).gain for m in (ours, theirs)]
    assert torch.equal(*gains)
    for one, other in zip(mlps_of(ours.module), mlps_of(theirs.module), strict=True):
        assert torch.equal(one.incoming.weight, other.incoming.weight)
        assert torch.equal(one.written, other.written)
    for one, other in zip(query_key_of(ours.module), query_key_of(theirs.module), strict=True):
        assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("everything", [False, True])
def test_a_model_on_the_disk_is_the_same_model(name, everything, folders, opened, spread):
    layers = layers_of(folders[name])
    places = {"": "disk"} if everything else {f"{layers}.1": "disk", "": "cpu"}
    model = spread(folders[name], places)
    assert all((everything or name.startswith(f"{layers}.1.")) for name in on_disk(model))
    assert on_disk(model)
    assert_same_outputs(opened[name], model)
    assert_same_weights(opened[name], model)
    assert model.ref.digest == opened[name].ref.digest


@pytest.mark.parametrize(
    ("places", "where"),
    [
        ({"model.embed_tokens": "cpu", "model.layers.0": "cpu", "": "disk"}, "cpu"),
        ({"model.embed_tokens": "disk", "": "cpu"}, "disk"),
        ({"lm_head": "cpu", "": "disk"}, "cpu"),
        ({"lm_head": "disk", "": "cpu"}, "disk"),
        pytest.param(
            {"lm_head.weight": "cpu", "": "disk"},
            "cpu",
            marks=pytest.mark.filterwarnings("ignore:The following device_map keys:UserWarning"),
        ),
        ({"model": "disk", "": "cpu"}, "disk"),  # more special than the entry for the rest
        ({"model": "disk", "lm_head": "cpu"}, "cpu"),  # an entry of its own
        ({"model": "disk"}, "disk"),
        ({"model.embed_tokens": "cpu", "lm_head": "cpu", "": "disk"}, "cpu"),
    ],
)
def test_a_shared_weight_lies_where_the_map_names_one_of_its_modules(places, where, tied, spread):
    model = spread(tiny_folder("teacher"), places)
    weights = [model.module.lm_head.weight, model.module.model.embed_tokens.weight]
    assert [weight.is_meta for weight in weights] == [where == "disk"] * 2
    assert_same_outputs(tied, model)
    assert_same_weights(tied, model)
    assert model.ref.digest == tied.ref.digest


def test_only_the_modules_of_a_shared_weight_follow_it(spread):
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "": "disk"}
    layers = {f"model.layers.{n}": "cpu" if n == 0 else "disk" for n in range(4)}
    assert spread(tiny_folder("teacher"), places).placement == {
        "model.embed_tokens": "cpu",
        **layers,
        "model.norm": "disk",
        "model.rotary_emb": "disk",
        "lm_head": "cpu",
    }
    assert spread(tiny_folder("teacher"), {"": "disk"}).placement == {"": "disk"}


def test_a_model_all_in_memory_is_the_same_model(folders, opened, spread):
    model = spread(folders["llama"], {"": "cpu"})
    assert model.placement == {"": "cpu"}
    assert not on_disk(model)
    assert_same_outputs(opened["llama"], model)


def test_more_general_entries_leave_room_for_special_ones(folders, spread):
    # Both orders mean the same; transformers would let the last one win.
    entries = [("", "cpu"), ("model.layers", "disk"), ("model.layers.0.mlp", "cpu")]
    found = [spread(folders["llama"], dict(order)) for order in (entries, entries[::-1])]
    for model in found:
        assert on_disk(model)
        assert all(".layers." in name and ".0.mlp." not in name for name in on_disk(model))
    assert found[0].placement == found[1].placement


@pytest.mark.parametrize("how", ["auto", "balanced", "balanced_low_0", "sequential"])
def test_a_named_map_fills_memory_and_leaves_the_rest_on_the_disk(how, folders, opened, caplog):
    spec = f"local:{folders['llama']}?device_map={how}&max_memory=cpu:120KB"
    model = open_model(spec, batch_tokens=128)
    # 272 x 32 embeddings take 34,816 bytes and so does the head; a layer takes 4 x (32 x 32 x 2 +
    # 32 x 16 x 2 + 3 x 32 x 48 + 2 x 32) = 30,976: with room for the largest layer that has to be
    # brought in, the embeddings and the first layer fit.
    places = model.placement
    assert places["model.embed_tokens"] == places["model.layers.0"] == "cpu"
    assert places["model.layers.1"] == places["lm_head"] == "disk"
    assert on_disk(model)
    assert not caplog.records  # accelerate would warn of what was asked for
    assert_same_outputs(opened["llama"], model)


def test_where_a_model_lies_is_told_by_module(folders, spread):
    places = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "": "cpu"}
    assert spread(folders["llama"], places).placement == {
        "model.embed_tokens": "cpu",
        "model.layers.0": "disk",
        "model.layers.1": "cpu",
        "model.norm": "cpu",
        "model.rotary_emb": "cpu",
        "lm_head": "cpu",
    }
    assert open_model(str(folders["llama"]), device="cpu").placement is None
    assert placed_modules(open_model(str(folders["llama"]), device="cpu").module) == {"": "cpu"}


def test_weights_are_read_in_the_type_that_the_model_runs_in(folders, spread):
    plain = open_model(str(folders["llama"]), device="cpu", dtype="bfloat16", batch_tokens=128)
    model = spread(folders["llama"], {"": "disk"}, dtype="bfloat16")
    assert model.head().weight.dtype == torch.bfloat16
    assert_same_outputs(plain, model)
    assert_same_weights(plain, model)
