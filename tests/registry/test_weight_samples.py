import json

import numpy as np
import pytest
from registry_world import SEVEN_B, as_gguf, copied, reordered, with_noise

from auditor.errors import AccessError, SubjectError
from auditor.models.checkpoint import StoredTensor
from auditor.models.source import locate
from auditor.models.specifier import parse
from auditor.models.weight_files import WeightFiles, open_weights
from auditor.registry.distance import reused, sketch_distances
from auditor.registry.fingerprint import fingerprint
from auditor.registry.sample import RangeReader, planned_bytes, sampled

SIZES = {"F16": 2.0, "BF16": 2.0, "F32": 4.0, "Q8_0": 34 / 32, "Q4_0": 18 / 32, "Q4_K": 144 / 256}


def seven_b(dtype, path):
    """Return a 7B model as its headers describe it; no file is needed."""
    stored, start = {}, 0
    gguf = dtype.startswith("Q")
    for name, shape in sorted(SEVEN_B.items()):
        kind = "F32" if gguf and len(shape) == 1 else dtype
        size = int(np.prod(shape) * SIZES[kind])
        stored[name] = StoredTensor(
            name=name, dtype=kind, shape=shape[::-1] if gguf else shape, path=path,
            start=start, size=size,
        )  # fmt: skip
        start += size
    config = {"model_type": "llama", "num_attention_heads": 32, "num_key_value_heads": 32}
    return WeightFiles(spec="7b", stored=stored, config=config, gguf=gguf)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_of_a_7b_model_100_to_300_mb_are_read(dtype, tmp_path):
    assert 100e6 < planned_bytes(seven_b(dtype, tmp_path / "x"), 0) < 300e6


@pytest.mark.parametrize(("dtype", "most"), [("Q8_0", 70e6), ("Q4_0", 40e6), ("Q4_K", 40e6)])
def test_of_a_quantised_7b_model_the_same_elements_take_less(dtype, most, tmp_path):
    # 59.5 million elements of 34/32, 18/32 or 144/256 bytes, and both ends of 226 matrices.
    pytest.importorskip("gguf")
    assert most / 2 < planned_bytes(seven_b(dtype, tmp_path / "x"), 0) < most


def test_a_7b_file_is_read_by_ranges_as_planned(tmp_path):
    # Sparse: 13.5 GB of which only what is written here takes room on the disk.
    path = tmp_path / "model.safetensors"
    model = seven_b("F16", path)
    with path.open("wb") as stream:
        stream.truncate(2 * 6_738_415_616)
        stream.seek(model.stored["layers.0.mlp.up_proj.weight"].start)
        stream.write(np.random.RandomState(0).standard_normal(1 << 20).astype("<f2").tobytes())
    with RangeReader() as reader:
        samples = list(sampled(model, reader, 0))
    assert reader.bytes_read == planned_bytes(model, 0)
    assert reader.bytes_read < 0.01 * path.stat().st_size
    assert len(samples) == len(SEVEN_B)
    # Constant matrices (here: zeros) say nothing, and are not sketched.
    assert sum(sample.sketch is not None for sample in samples) <= 1


def test_a_gguf_file_is_sampled_at_the_same_elements(tmp_path):
    gguf = pytest.importorskip("gguf")
    folder = copied("teacher", tmp_path / "m")
    models = [fingerprint_of(folder)]
    for kind, name in ((None, "f32"), (gguf.GGMLQuantizationType.Q8_0, "q8")):
        models.append(fingerprint_of(as_gguf(folder, tmp_path / f"{name}.gguf", kind)))
    distances = sketch_distances(models)
    # float16 in float32 is the same; 8 bits: rounding of 1/254 of a block's largest value.
    assert distances[0, 1] == 0
    assert 0 < distances[0, 2] < 1e-3
    assert [model.places for model in models[1:]] == [models[0].places] * 2
    assert models[0].digest != models[1].digest  # bytes, not numbers, are digested


def fingerprint_of(path):
    from auditor.registry.fingerprint import _weights

    with RangeReader() as reader:
        return _weights(open_weights(str(path)), reader, 0)


def test_windows_of_a_gguf_row_are_the_elements_that_the_whole_tensor_has(tmp_path):
    gguf = pytest.importorskip("gguf")
    folder = copied("teacher", tmp_path / "m")
    path = as_gguf(folder, tmp_path / "m.gguf", gguf.GGMLQuantizationType.Q8_0)
    weights = open_weights(str(path))
    for name in ("layers.1.self_attn.q_proj.weight", "layers.1.mlp.down_proj.weight"):
        whole = weights.read(name)
        for row in (0, 5, 37, len(whole) - 1):
            offset, size = weights.byte_range(name, row, (32, 96))
            with RangeReader() as reader:
                raw = bytearray(reader.read(path, offset, size))
            assert weights.decoded(name, raw).tolist() == whole[row, 32:96].tolist()


@pytest.mark.parametrize("heads", [[4], 0, 7, 96])
def test_heads_that_the_rows_cannot_be_cut_into_cost_the_weights_alone(tmp_path, heads):
    # 96 rows: 96 heads would leave one row each, and rotary rows go in pairs.
    pytest.importorskip("gguf")
    folder = copied("teacher", tmp_path / "m")
    path = as_gguf(folder, tmp_path / "m.gguf", heads_said=heads)
    with pytest.raises(AccessError, match=r"self_attn\.q_proj\.weight .* no pairs in .* heads"):
        fingerprint_of(path)


def test_a_table_of_tokens_without_axes_has_no_rows(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.array(3.0, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert locate(parse(str(tmp_path / "x.gguf"))).rows is None


def test_distances_of_copies_and_strangers(tmp_path):
    names = {
        "same": copied("teacher", tmp_path / "same"),
        "tuned": copied("teacher", tmp_path / "tuned", with_noise(0.1)),
        "reordered": copied("teacher", tmp_path / "reordered", reordered),
        "other": copied("independent", tmp_path / "other"),
    }
    models = [fingerprint_of(path) for path in names.values()]
    distances = sketch_distances(models)[0]
    assert distances[0] == 0
    # Noise of 0.1 standard deviations: cosine 1/sqrt(1.01) = 0.995 of each matrix.
    assert distances[1] == pytest.approx(1 - 1 / np.sqrt(1.01), abs=2e-3)
    # 12 of 29 matrices of the reordered copy are at other places: 1 - 17/29, as good as unrelated.
    assert distances[2] == pytest.approx(12 / 29, abs=0.06)
    # 29 sketches of 128: a cosine of 0 is estimated within 3/sqrt(29 * 128) = 0.05.
    assert distances[3] > 0.94
    assert np.array_equal(sketch_distances(models), sketch_distances(models).T)


def test_tensor_reuse_finds_a_matrix_in_another_place(tmp_path):
    def moved(weights):
        changed = with_noise(0.5)(weights)
        changed["model.layers.3.mlp.up_proj.weight"] = weights["model.layers.0.mlp.up_proj.weight"]
        return changed

    original = fingerprint_of(copied("teacher", tmp_path / "a"))
    suspect = fingerprint_of(copied("teacher", tmp_path / "b", moved))
    assert reused(original, original) == 1
    assert reused(suspect, original) == 1 / 29  # norms are vectors and are not counted


def test_another_seed_reads_other_positions_of_a_large_tensor(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(np.random.RandomState(1).standard_normal(4096 * 512).astype("<f4").tobytes())
    tensor = StoredTensor(
        name="w", dtype="F32", shape=(512, 4096), path=path, start=0, size=path.stat().st_size
    )
    files = WeightFiles(spec="x", stored={"w": tensor}, config={"model_type": "llama"})

    def first(seed):
        with RangeReader() as reader:
            (found,) = sampled(files, reader, seed)
        return found

    assert first(0).digest == first(0).digest != first(1).digest
    assert first(0).content == first(1).content
    assert not first(0).whole


def test_a_file_that_shrinks_is_refused(tmp_path):
    folder = copied("teacher", tmp_path / "m")
    weights = open_weights(str(folder))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with RangeReader() as reader, pytest.raises(SubjectError, match="ends inside a tensor"):
        list(sampled(weights, reader, 0))


def test_a_model_of_packed_weights_keeps_its_vocabulary(tmp_path, monkeypatch):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "gemma3")
    writer.add_tensor("token_embd.weight", np.ones((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(AccessError, match="gemma3"):
        fingerprint_of(tmp_path / "x.gguf")


def test_recorded_outputs_have_no_weights_to_look_at(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"probe_id": "inst-0001", "text": "hello"}) + "\n")
    found = fingerprint(f"records:{path}", 0)
    assert found.weights is None
    assert set(found.undefined) == {"weights", "vocabulary"}
