"""Maps of devices that cannot be followed: the error names the place and the remedy."""

import sys

import pytest

from auditor.errors import MissingExtraError, SubjectError
from auditor.models import open_model
from auditor.models.tiny import tiny_folder


@pytest.mark.parametrize(
    ("places", "said", "hint"),
    [
        ({"": "cpu", "model.layer.0": "disk"}, "no module 'model.layer.0'", "'model.layers.0'"),
        ({"model.embed_tokens": "cpu"}, "does not say where model.layers.*more", 'the entry ""'),
        ({"model": "cpu"}, "does not say where lm_head goes$", 'the entry ""'),
        ({"": "cuda:7"}, "device 'cuda:7' cannot be used", "GPU"),
        ({"": 7}, "device 7 cannot be used", "GPU"),
        ({"": "nowhere"}, "device 'nowhere' cannot be used", "GPU"),
        ({"": "meta"}, "device 'meta' cannot be used", "GPU"),
        ({"": "hpu"}, "device 'hpu' cannot be used", "GPU"),
        ({"": "privateuseone"}, "device 'privateuseone' cannot be used", "GPU"),
        (
            {"": "cpu", "model.norm.weight": "disk"},
            "model.norm.weight, a single weight, cannot lie on the disk",
            "place its module 'model.norm' there",
        ),
        ({"": True}, "device of '' is True", "number of a GPU"),
        ({"": ["cpu"]}, "device of '' is", "number of a GPU"),
        ({}, "not an object", "device_map is one of"),
        (["cpu"], "not an object", "device_map is one of"),
    ],
)
def test_maps_that_cannot_be_followed(places, said, hint, folders, spread):
    with pytest.raises(SubjectError, match=said) as caught:
        spread(folders["llama"], places)
    assert hint in caught.value.hint


def test_a_shared_weight_lies_in_one_place(spread):
    said = "model.embed_tokens and lm_head hold one weight, but are to lie on cpu and disk"
    with pytest.raises(SubjectError, match=said) as caught:
        spread(tiny_folder("teacher"), {"model.embed_tokens": "cpu", "lm_head": "disk", "": "cpu"})
    assert caught.value.hint == "give both the same device, or name only one of them"


def test_a_weight_beside_modules_that_the_map_places(folders, spread):
    # The head's bias goes where the rest goes, apart from its weight.
    with pytest.raises(SubjectError, match=r"lm_head\.bias, a single weight") as caught:
        spread(folders["phi"], {"lm_head.weight": "cpu", "": "disk"})
    assert "'lm_head'" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("device_map=nowhere.json", "no map of devices at .*nowhere.json"),
        ("device_map=sequental", "no map of devices at .*sequental"),
        ("device_map=", "no map of devices"),
        ("device_map=a%00b", "device_map 'a.x00b' is no path"),
        ("device_map=auto&offload_folder=~nobody.here", "offload_folder '~nobody.here' is no path"),
        (f"device_map={'a' * 300}", "a+ cannot be read|no map of devices at .*a+"),
        ("device_maps=auto", "'device_maps' is no option"),
        ("max_memory=cpu:1GB", "has no device_map"),
        ("nonsense", "'nonsense' is no option"),
        ("device_map=auto&max_memory=1GB", "names no device"),
        ("device_map=auto&max_memory=cpu:much", "'much' is no size"),
        ("device_map=auto&max_memory=cpu:infGB", "'infGB' is no size"),
        ("device_map=auto&max_memory=cpu:1e400GB", "'1e400GB' is no size"),
        (f"device_map=auto&max_memory={'9' * 5000}:1GB", "names no device"),
        ("device_map=auto&max_memory=7:1GB", "device 7 cannot be used"),
        ("device_map=own.json&max_memory=cpu:1GB", "no effect beside a map"),
    ],
)
def test_options_that_cannot_be_followed(options, said, folders):
    with pytest.raises(SubjectError, match=said) as caught:
        open_model(f"local:{folders['llama']}?{options}")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["{'': 'cpu'}", "[" * 100_000, '{"a":' * 100_000])
def test_a_map_that_is_not_json(text, folders, tmp_path):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(SubjectError, match=r"map\.json is not JSON"):
        open_model(f"local:{folders['llama']}?device_map={tmp_path / 'map.json'}")


def test_without_accelerate(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match="accelerate") as caught:
        open_model(f"local:{folders['llama']}?device_map=auto")
    assert caught.value.hint == "pip install accelerate"


@pytest.mark.parametrize("spec", ["gguf:model.gguf?device_map=auto", "smollm2?device_map=auto"])
def test_a_gguf_file_is_loaded_whole(spec):
    with pytest.raises(SubjectError, match="loaded whole"):
        open_model(spec)


def test_a_model_on_the_disk_is_not_changed_in_place(folders, spread):
    from auditor.collect.coarse_copies import FORECAST, coarsen
    from auditor.errors import AccessError

    model = spread(folders["llama"], {"model.layers.1": "disk", "": "cpu"})
    with pytest.raises(AccessError, match="partly on the disk"):
        coarsen(model, FORECAST)


def test_training_takes_no_map(folders):
    from auditor.models.loading import load_transformers

    with pytest.raises(SubjectError, match="for models that are audited"):
        load_transformers(f"local:{folders['llama']}?device_map=auto")


@pytest.mark.parametrize("how", ["a file", "inside a file"])
def test_an_offload_folder_that_cannot_be_made(how, folders, tmp_path):
    (tmp_path / "taken").write_text("")
    folder = tmp_path / "taken" if how == "a file" else tmp_path / "taken" / "inside"
    said = f"offload_folder {folder} cannot be made: "
    with pytest.raises(SubjectError, match=said) as caught:
        open_model(f"local:{folders['llama']}?device_map=auto&offload_folder={folder}")
    assert "offload_folder" in caught.value.hint
