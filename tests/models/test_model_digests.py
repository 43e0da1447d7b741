import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from auditor.models import identify
from auditor.models.digest import tensor_digests
from auditor.models.loading import load_transformers
from auditor.models.quiet import quiet
from auditor.models.source import locate
from auditor.models.specifier import parse
from auditor.types import Access


@pytest.fixture
def copy(folders, tmp_path):
    return shutil.copytree(folders["llama"], tmp_path / "copy")


def weights(folder):
    return safetensors.torch.load_file(folder / "model.safetensors")


def rewrite(folder, tensors):
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_the_digest_is_sha256_over_name_type_shape_and_bytes(copy):
    # Rebuilt with the safetensors library and the format in the docstrings of digest and canon.
    entries = []
    for name, tensor in sorted(weights(copy).items()):
        label = json.dumps(
            {"dtype": "F32", "name": name, "shape": list(tensor.shape)},
            sort_keys=True,
            separators=(",", ":"),
        )
        body = tensor.numpy().tobytes()
        entries.append([name, "sha256:" + hashlib.sha256(label.encode() + body).hexdigest()])
    joined = json.dumps(entries, separators=(",", ":")).encode()
    assert identify(str(copy)).digest == "sha256:" + hashlib.sha256(joined).hexdigest()


def test_two_swapped_tensors_are_another_model(copy):
    before = identify(str(copy)).digest
    tensors = weights(copy)
    q0, q1 = (f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1))
    tensors[q0], tensors[q1] = tensors[q1], tensors[q0]
    rewrite(copy, tensors)
    after = identify(str(copy))
    assert after.digest != before
    assert after.parameters == identify(str(copy)).parameters


def test_gate_and_up_swapped_within_a_layer_are_another_model(copy):
    before = identify(str(copy)).digest
    tensors = weights(copy)
    gate, up = (f"model.layers.0.mlp.{part}_proj.weight" for part in ("gate", "up"))
    tensors[gate], tensors[up] = tensors[up], tensors[gate]
    rewrite(copy, tensors)
    assert identify(str(copy)).digest != before


def test_one_flipped_bit_is_another_model(copy):
    before = identify(str(copy)).digest
    path = copy / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert identify(str(copy)).digest != before


def test_the_cut_into_files_does_not_matter(copy, tmp_path):
    whole = identify(str(copy))
    module = load_transformers(str(copy), device="cpu").module
    with quiet():
        module.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(copy / name, tmp_path / "shards" / name)
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    sharded = identify(str(tmp_path / "shards"))
    assert replace(sharded, spec=whole.spec) == whole


def test_the_order_inside_a_file_does_not_matter(copy):
    before = identify(str(copy)).digest
    path = copy / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    names, moved, at = [n for n in header if n != "__metadata__"], b"", 0
    for name in reversed(names):
        start, end = header[name]["data_offsets"]
        moved += data[start:end]
        header[name]["data_offsets"] = [at, at + end - start]
        at += end - start
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + moved)
    assert safetensors.torch.load_file(path).keys() == set(names)  # the library agrees it is valid
    assert identify(str(copy)).digest == before


def test_the_type_matters_where_the_values_are_equal(copy):
    tensors = {name: tensor.half() for name, tensor in weights(copy).items()}
    rewrite(copy, tensors)
    narrow = identify(str(copy)).digest
    rewrite(copy, {name: tensor.float() for name, tensor in tensors.items()})
    assert identify(str(copy)).digest != narrow


def test_the_shape_matters_where_the_bytes_are_equal(copy):
    before = tensor_digests(locate(parse(str(copy))))
    tensors = weights(copy)
    name = "model.embed_tokens.weight"
    tensors[name] = tensors[name].reshape(32, 272)
    rewrite(copy, tensors)
    after = tensor_digests(locate(parse(str(copy))))
    assert [key for key in before if before[key] != after[key]] == [name]


def test_saving_a_loaded_model_keeps_its_identity(folders, tmp_path):
    for name in ("llama", "gpt2"):  # gpt2 ties its head
        loaded = load_transformers(str(folders[name]), device="cpu")
        with quiet():
            loaded.module.save_pretrained(tmp_path / name)
        loaded.tokenizer.save_pretrained(tmp_path / name)
        before, after = identify(str(folders[name])), identify(str(tmp_path / name))
        assert replace(after, spec=before.spec) == before


def test_the_chat_template_has_its_own_digest(copy):
    before = identify(str(copy))
    (copy / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    after = identify(str(copy))
    text = hashlib.sha256(b"{{ messages[0]['content'] }}").hexdigest()
    assert after.template_digest == f"sha256:{text}" != before.template_digest
    assert (after.digest, after.tokenizer_digest) == (before.digest, before.tokenizer_digest)


def test_an_opened_model_has_the_identity_that_identify_gives(folders, opened):
    for name, folder in folders.items():
        assert opened[name].ref == replace(identify(str(folder)), dtype="float32")


def test_what_an_identity_says(folders):
    ref = identify(str(folders["llama"]))
    assert ref.spec == f"local:{folders['llama'].resolve()}"
    assert ref.access == Access.WEIGHTS
    assert ref.architecture == "LlamaForCausalLM"
    assert ref.vocabulary == 259
    # By hand, V=272 D=32 F=48, 2 layers, 4 heads and 2 key-value heads of 8: embeddings and head
    # 2VD; a layer q,o 2*32*32 + k,v 2*32*16 + 3*32*48 + 2 norms of 32; the last norm 32.
    assert ref.parameters == 2 * 272 * 32 + 2 * (2048 + 1024 + 4608 + 64) + 32


def test_identifying_runs_no_forward_pass_and_loads_no_weights(folders, monkeypatch):
    def refuse(*_args, **_named):
        raise RuntimeError("a module was built")

    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)
    monkeypatch.setattr(torch, "from_numpy", refuse)
    assert identify(str(folders["llama"])).digest
