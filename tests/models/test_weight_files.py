import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.errors import AccessError, InputError, SubjectError
from auditor.models.anatomy import Axis, anatomy_of
from auditor.models.loading import load_transformers
from auditor.models.weight_files import open_weights


def parameters(spec):
    module = load_transformers(str(spec), device="cpu", dtype="float32").module
    return {
        name.removeprefix("model.").removeprefix("transformer."): value.detach()
        for name, value in module.named_parameters()
    }


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_a_folder_is_read_as_transformers_loads_it(folders, name):
    weights, expected = open_weights(str(folders[name])), parameters(folders[name])
    assert list(weights.shapes) == sorted(expected)
    for key, value in expected.items():
        assert weights.shapes[key] == tuple(value.shape)
        assert torch.equal(weights.read(key), value)


def test_tensors_keep_the_type_of_the_file():
    weights = open_weights("tiny:teacher")  # float16, tied embeddings
    assert weights.stored_type("norm.weight") == "F16"
    assert weights.read("norm.weight").dtype == torch.float16
    assert "lm_head.weight" not in weights.shapes


def test_a_gguf_file_is_read_under_the_same_names(folders, tmp_path):
    gguf = pytest.importorskip("gguf")
    original = parameters(folders["llama"])
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, value in original.items():
        array = value.numpy()
        if ".q_proj" in name or ".k_proj" in name:
            # llama.cpp keeps the two halves of each rotary pair side by side.
            heads = 4 if ".q_proj" in name else 2
            halves = array.reshape(heads, 2, len(array) // heads // 2, -1)
            array = halves.swapaxes(1, 2).reshape(array.shape)
        packed = ".up_proj" in name
        writer.add_tensor(
            gguf_name(name), gguf.quantize(array, q8) if packed else array,
            raw_dtype=q8 if packed else None,
        )  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    weights = open_weights(f"gguf:{path}")
    assert weights.shapes == {name: tuple(original[name].shape) for name in sorted(original)}
    for name, value in original.items():
        expected = value
        if ".up_proj" in name:
            assert weights.stored_type(name) == "Q8_0"
            expected = torch.from_numpy(gguf.dequantize(gguf.quantize(value.numpy(), q8), q8))
        assert torch.equal(weights.read(name), expected), name


def gguf_name(name):
    gguf = pytest.importorskip("gguf")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    stem, part = name.rsplit(".", 1)
    prefix = "" if stem == "lm_head" else "model."
    return f"{names.get_name(prefix + stem)}.{part}"


def test_a_gguf_file_of_another_architecture_names_the_remedy(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_tensor("token_embd.weight", np.ones((2, 2), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(AccessError, match="'mamba' are not read one by one") as caught:
        open_weights(f"gguf:{path}")
    assert "transformers folder" in caught.value.hint


@pytest.fixture
def changed(folders, tmp_path):
    """Return a function that saves the llama with its tensors changed and opens it."""

    def save(change, **config):
        folder = tmp_path / "changed"
        shutil.copytree(folders["llama"], folder)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return open_weights(str(folder))

    return save


def test_masks_and_frequencies_are_no_weights(changed):
    def change(tensors):
        tensors["model.rotary_emb.inv_freq"] = torch.ones(4)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
        tensors["model.layers.0.position_ids"] = torch.arange(4)

    assert len(changed(change).shapes) == 21


def test_a_stored_copy_of_a_tied_head_is_left_out(changed):
    weights = changed(lambda tensors: None, tie_word_embeddings=True)
    assert "lm_head.weight" not in weights.shapes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(changed, value):
    weights = changed(lambda tensors: tensors["model.norm.weight"].fill_(value))
    with pytest.raises(SubjectError, match=r"norm\.weight of .* holds NaN or infinity"):
        weights.read("norm.weight")
    assert weights.read("embed_tokens.weight").shape == (272, 32)


def test_a_subject_without_weights_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "a", "text": "b"}')
    with pytest.raises(SubjectError, match="has no weights here"):
        open_weights(f"records:{path}")


def test_the_anatomy_of_a_llama(folders):
    weights = open_weights(str(folders["llama"]))
    found = anatomy_of(weights.shapes, weights.config)
    assert (found.width, found.layers, found.neurons) == (32, 2, 48)
    assert (found.heads, found.groups, found.head_width) == (4, 2, 8)
    assert found.axes["layers.1.self_attn.o_proj.weight"] == (
        Axis("residual", -1),
        Axis("output", 1),
    )
    assert found.named("neurons", 0) == {
        "layers.0.mlp.down_proj.weight": 1,
        "layers.0.mlp.gate_proj.weight": 0,
        "layers.0.mlp.up_proj.weight": 0,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers.0.mlp.experts.weight": (8, 4)}, r"the place of layers\.0\.mlp\.experts\.weight"),
        ({"layers.0.mlp.up_proj.weight": (9, 8)}, "9 neurons, others 16"),
        ({"layers.0.self_attn.q_proj.weight": (6, 8)}, "6 query outputs do not fit 2 heads"),
        ({"layers.0.self_attn.q_norm.weight": (8,)}, "not a norm inside one head"),
        ({"layers.0.mlp.up_proj.weight": (16,)}, "has 1 axes"),
        ({"layers.0.mlp.up_proj.weight": None, "layers.0.mlp.down_proj.weight": None}, "no embed"),
    ],
)
def test_contradictions_are_named(change, said):
    shapes = {
        "embed_tokens.weight": (10, 8),
        "layers.0.mlp.down_proj.weight": (8, 16),
        "layers.0.mlp.up_proj.weight": (16, 8),
        "layers.0.self_attn.o_proj.weight": (8, 8),
        "layers.0.self_attn.q_proj.weight": (8, 8),
    }
    assert anatomy_of(shapes, {"num_attention_heads": 2}).head_width == 4
    shapes = {name: shape for name, shape in {**shapes, **change}.items() if shape is not None}
    with pytest.raises(InputError, match=said) as caught:
        anatomy_of(shapes, {"num_attention_heads": 2})
    assert "GPT-2" in caught.value.hint
