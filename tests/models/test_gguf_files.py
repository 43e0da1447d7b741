import hashlib
import importlib.util
import json

import numpy as np
import pytest
import torch

gguf = pytest.importorskip("gguf")

from auditor.errors import MissingExtraError, SubjectError  # noqa: E402
from auditor.models import identify, open_model  # noqa: E402
from auditor.models.byte_tokenizer import byte_alphabet, byte_tokenizer  # noqa: E402
from auditor.models.gguf_header import read_header  # noqa: E402
from auditor.models.loading import load_transformers  # noqa: E402
from auditor.types import Decoding, Probe  # noqa: E402

METADATA = {
    "t.uint8": (gguf.GGUFValueType.UINT8, 255),
    "t.int8": (gguf.GGUFValueType.INT8, -128),
    "t.uint16": (gguf.GGUFValueType.UINT16, 65_535),
    "t.int16": (gguf.GGUFValueType.INT16, -32_768),
    "t.uint32": (gguf.GGUFValueType.UINT32, 2**32 - 1),
    "t.int32": (gguf.GGUFValueType.INT32, -(2**31)),
    "t.float32": (gguf.GGUFValueType.FLOAT32, 0.5),
    "t.bool": (gguf.GGUFValueType.BOOL, True),
    "t.string": (gguf.GGUFValueType.STRING, "é🙂"),
    "t.empty": (gguf.GGUFValueType.STRING, ""),
    "t.uint64": (gguf.GGUFValueType.UINT64, 2**64 - 1),
    "t.int64": (gguf.GGUFValueType.INT64, -(2**63)),
    "t.float64": (gguf.GGUFValueType.FLOAT64, 0.1),
    "t.ints": (gguf.GGUFValueType.ARRAY, [1, -2, 3]),
    "t.floats": (gguf.GGUFValueType.ARRAY, [0.5, 0.25]),
    "t.bools": (gguf.GGUFValueType.ARRAY, [True, False]),
    "t.texts": (gguf.GGUFValueType.ARRAY, ["a", "", "ü"]),
    "t.nested": (gguf.GGUFValueType.ARRAY, [[1, 2], [3], [4, 5, 6]]),
    "t.deep": (gguf.GGUFValueType.ARRAY, [[["a"], ["b", "c"]], [["d"]]]),
}


def write(path, metadata, tensors, architecture="llama"):
    writer = gguf.GGUFWriter(path, architecture)
    for key, (kind, value) in metadata.items():
        writer.add_key_value(key, value, kind)
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def sample_file(tmp_path):
    quantised = gguf.quantize(np.arange(64, dtype=np.float32).reshape(2, 32), Q8_0)
    tensors = {
        "b": (np.arange(6, dtype=np.float32).reshape(2, 3), None),
        "a": (np.arange(4, dtype=np.float16), None),
        "q": (quantised, Q8_0),
    }
    return write(tmp_path / "s.gguf", METADATA, tensors)


Q8_0 = gguf.GGMLQuantizationType.Q8_0


def test_every_metadata_type_is_read(sample_file):
    found = read_header(sample_file).metadata
    assert {key: found[key] for key in METADATA} == {k: v for k, (_, v) in METADATA.items()}
    assert found["general.architecture"] == "llama"


def test_tensors_are_read_as_stored(sample_file):
    tensors = {tensor.name: tensor for tensor in read_header(sample_file).tensors}
    assert list(tensors) == ["a", "b", "q"]
    raw = {name: b"".join(tensor.chunks()) for name, tensor in tensors.items()}
    assert raw["a"] == np.arange(4, dtype=np.float16).tobytes()
    assert raw["b"] == np.arange(6, dtype=np.float32).tobytes()
    # A Q8_0 block is 32 int8 with a float16 scale: 34 bytes, two of them.
    assert len(raw["q"]) == 68
    assert [tensors[n].dtype for n in "abq"] == ["F16", "F32", "Q8_0"]
    assert (tensors["b"].shape, tensors["q"].elements) == ((3, 2), 64)


def test_the_library_sees_the_same_bytes(sample_file):
    ours = {t.name: hashlib.sha256(b"".join(t.chunks())).digest() for t in read(sample_file)}
    theirs = {
        t.name: hashlib.sha256(t.data.tobytes()).digest()
        for t in gguf.GGUFReader(sample_file).tensors
    }
    assert ours == theirs


def read(path):
    return read_header(path).tensors


def permuted(weight, heads):
    """llama.cpp keeps the two halves of each rotary pair side by side."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def llama_tensors(module):
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    tensors = {
        "token_embd.weight": (state["model.embed_tokens.weight"], None),
        "output_norm.weight": (state["model.norm.weight"], None),
        "output.weight": (state["lm_head.weight"], None),
    }
    for layer in range(2):
        for theirs, name in NAMES.items():
            array = state[f"model.layers.{layer}.{theirs}.weight"]
            if name in ("attn_q", "attn_k"):
                array = permuted(array, 4 if name == "attn_q" else 2)
            tensors[f"blk.{layer}.{name}.weight"] = (array, None)
    return tensors


def llama_metadata():
    kind = gguf.GGUFValueType
    # 13 more tokens, because the head of the model has 272 rows; one merge, which none is without.
    tokens = [*byte_alphabet(), "<|bos|>", "<|eos|>", "<|pad|>", "th"]
    tokens += [f"<unused{i}>" for i in range(12)]
    return {
        "general.name": (kind.STRING, "tiny"),
        "llama.block_count": (kind.UINT32, 2),
        "llama.context_length": (kind.UINT32, 2048),
        "llama.embedding_length": (kind.UINT32, 32),
        "llama.feed_forward_length": (kind.UINT32, 48),
        "llama.attention.head_count": (kind.UINT32, 4),
        "llama.attention.head_count_kv": (kind.UINT32, 2),
        "llama.attention.layer_norm_rms_epsilon": (kind.FLOAT32, 1e-6),
        "llama.rope.freq_base": (kind.FLOAT32, 10_000.0),
        "llama.vocab_size": (kind.UINT32, 272),
        "tokenizer.ggml.model": (kind.STRING, "gpt2"),
        "tokenizer.ggml.tokens": (kind.ARRAY, tokens),
        "tokenizer.ggml.token_type": (kind.ARRAY, [1] * 256 + [3] * 3 + [1] + [5] * 12),
        "tokenizer.ggml.merges": (kind.ARRAY, ["t h"]),
        "tokenizer.ggml.bos_token_id": (kind.UINT32, 256),
        "tokenizer.ggml.eos_token_id": (kind.UINT32, 257),
        "tokenizer.chat_template": (kind.STRING, byte_tokenizer().chat_template),
        "auditor.uint64": (kind.UINT64, 2**63),
    }


@pytest.fixture(scope="module")
def original(folders):
    return load_transformers(str(folders["llama"]), device="cpu").module


@pytest.fixture(scope="module")
def llama_file(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return write(path, llama_metadata(), llama_tensors(original))


def test_a_converted_model_computes_what_the_original_does(llama_file, original):
    model = open_model(str(llama_file), device="cpu")
    ids = torch.tensor([[5, 1, 200, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(model.module(ids).logits, original(ids).logits)
    assert model.ref.architecture == "llama"
    assert model.ref.vocabulary == 272
    assert model.encode("the é").token_ids[-5:] == (259, 0x65, 0x20, 0xC3, 0xA9)
    (sample,) = model.sample(
        [Probe(id="p", category="x", text="a")], 1, Decoding(max_new_tokens=3), 1
    )
    assert len(sample.token_ids) <= 3


def test_the_module_trains_and_saves_like_any_other(llama_file, original, tmp_path):
    loaded = load_transformers(str(llama_file), device="cpu")
    assert all(parameter.dtype == torch.float32 for parameter in loaded.module.parameters())
    assert all(parameter.requires_grad for parameter in loaded.module.parameters())
    loaded.module.save_pretrained(tmp_path / "again")
    loaded.tokenizer.save_pretrained(tmp_path / "again")
    assert "quantization_config" not in json.loads((tmp_path / "again/config.json").read_text())
    again = load_transformers(str(tmp_path / "again"), device="cpu").module
    for name, tensor in original.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert loaded.module.generation_config.eos_token_id == 257
    saved, file = identify(str(tmp_path / "again")), identify(str(llama_file))
    assert saved.tokenizer_digest == file.tokenizer_digest
    assert saved.template_digest == file.template_digest


def test_loading_does_not_touch_the_global_random_state(llama_file):
    before = torch.random.get_rng_state()
    load_transformers(str(llama_file), device="cpu")
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_librarys_readers_are_put_back(llama_file):
    import transformers.modeling_gguf_pytorch_utils as conversion

    before = gguf.GGUFReader, gguf.get_tensor_name_map, conversion.tqdm
    load_transformers(str(llama_file), device="cpu")
    assert (gguf.GGUFReader, gguf.get_tensor_name_map, conversion.tqdm) == before


def test_two_swapped_tensors_are_another_model(llama_file, original, tmp_path):
    tensors = llama_tensors(original)
    one, two = "blk.0.attn_q.weight", "blk.1.attn_q.weight"
    tensors[one], tensors[two] = tensors[two], tensors[one]
    swapped = write(tmp_path / "swapped.gguf", llama_metadata(), tensors)
    assert identify(str(swapped)).digest != identify(str(llama_file)).digest
    again = write(tmp_path / "again.gguf", llama_metadata(), llama_tensors(original))
    assert identify(str(again)).digest == identify(str(llama_file)).digest


def test_missing_tensors_are_not_filled_with_random_numbers(original, tmp_path):
    tensors = llama_tensors(original)
    del tensors["blk.1.ffn_up.weight"]
    path = write(tmp_path / "m.gguf", llama_metadata(), tensors)
    with pytest.raises(SubjectError, match=r"lacks tensors .*layers\.1\.mlp\.up_proj"):
        load_transformers(str(path), device="cpu")


def assert_refused(path, said):
    for use in (identify, open_model):
        with pytest.raises(SubjectError, match=said) as caught:
            use(f"gguf:{path}")
        assert caught.value.hint


@pytest.mark.parametrize("keep", [0, 3, 23, 24, 60, 400, -1])
def test_truncated_at_any_place(sample_file, keep):
    raw = sample_file.read_bytes()
    # The writer pads the end of the last tensor to 32 bytes: 68 -> 96.
    sample_file.write_bytes(raw[:keep] if keep >= 0 else raw[:-29])
    assert_refused(sample_file, "is corrupt")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, b"GGML", "does not begin with GGUF"),
        (4, (1).to_bytes(4, "little"), "of version 1"),
        (4, (3).to_bytes(4, "big"), "big-endian"),
        (8, (2**60).to_bytes(8, "little"), "is corrupt"),
        (16, (2**60).to_bytes(8, "little"), "is corrupt"),
        (24, (2**63).to_bytes(8, "little"), "is corrupt"),
    ],
)
def test_a_damaged_header(sample_file, place, value, said):
    raw = bytearray(sample_file.read_bytes())
    raw[place : place + len(value)] = value
    sample_file.write_bytes(raw)
    assert_refused(sample_file, said)


def test_one_part_of_a_split_model(tmp_path):
    metadata = {"split.count": (gguf.GGUFValueType.UINT16, 3)}
    path = write(tmp_path / "p.gguf", metadata, {"a": (np.zeros(4, np.float32), None)})
    assert_refused(path, "one part of 3")


def test_an_architecture_that_cannot_be_converted(tmp_path):
    path = write(tmp_path / "x.gguf", {}, {"a": (np.zeros(4, np.float32), None)}, "nonsense")
    assert_refused(path, "cannot be read")


def test_a_missing_file(tmp_path):
    assert_refused(tmp_path / "no.gguf", "is missing")


def test_without_the_package_the_remedy_is_named(sample_file, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: (name != "gguf" and found(name, *rest)) or None,
    )
    with pytest.raises(MissingExtraError, match="need the package gguf") as caught:
        identify(str(sample_file))
    assert caught.value.hint == "pip install gguf"
