import contextlib
import gc
import json
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from registry_world import copied, packed, reordered, with_noise
from safetensors.numpy import load_file

from auditor.data import data_dir
from auditor.errors import InputError
from auditor.models.vocabulary import Vocabulary
from auditor.registry import prefilter as prefilter_module
from auditor.registry.continued import chosen_before
from auditor.registry.listing import Entry, Listed, listed
from auditor.registry.prefilter import Look, _nearest, prefilter

SCHEMA = json.loads((data_dir("reports") / "schema" / "prefilter-1.json").read_text())


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A copy, a light and a heavy change, a reordered copy, a stranger, and a broken model."""
    root = tmp_path_factory.mktemp("models")
    copied("teacher", root / "copy")
    copied("teacher", root / "heavy", with_noise(0.5))
    copied("teacher", root / "light", with_noise(0.05))
    copied("teacher", root / "reordered", reordered)
    copied("independent", root / "stranger")
    broken = copied("teacher", root / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return root


@pytest.fixture(scope="module")
def content(registry):
    return prefilter(Look(reference="tiny:teacher"), listed((str(registry),))).content


def vocabularies():
    gc.collect()
    return sum(type(one) is Vocabulary for one in gc.get_objects())


def by_name(content):
    return {row["spec"].rpartition("/")[2]: row for row in content["suspects"]}


def test_the_content_is_as_its_schema_has_it(content):
    assert list(Draft202012Validator(SCHEMA).iter_errors(content)) == []


def test_a_copy_has_the_reference_in_every_column(content):
    row = by_name(content)["copy"]
    assert (row["same_digest"], row["read_whole"], row["same_tokenizer"]) == (True, True, True)
    assert (row["tensor_reuse"], row["vocabulary_overlap"], row["distance"]) == (1, 1, 0)
    assert row["bytes_read"] == row["bytes_stored"]
    assert row["matrices"] == 29


def test_distances_grow_with_the_change(content):
    rows = by_name(content)
    order = sorted(rows, key=lambda name: rows[name]["distance"])
    assert order == ["copy", "light", "heavy", "reordered", "stranger"]
    assert not rows["light"]["same_digest"]
    assert rows["light"]["tensor_reuse"] == 0


def test_a_broken_model_is_refused_and_the_rest_goes_on(content, registry):
    (refused,) = content["refused"]
    assert refused["entry"] == f"local:{registry}/broken"
    assert "corrupt" in refused["reason"]
    assert len(content["suspects"]) == 5


def test_what_cannot_be_read_is_still_planned_beside_the_nearest(registry):
    found = prefilter(Look(reference="tiny:teacher", top=1), listed((str(registry),)))
    assert found.unread == (f"local:{registry}/broken",)
    assert found.planned == (f"local:{registry}/broken", f"local:{registry}/copy")


def test_a_case_that_goes_on_keeps_whom_it_measures_whoever_is_nearest_now(registry):
    named = listed((str(registry),))
    first = prefilter(Look(reference="tiny:teacher", top=1), named)
    plan = {"subjects": [{"spec": spec, "role": "suspect"} for spec in first.planned]}
    look = Look(reference="tiny:teacher", top=1)
    chosen = chosen_before(plan, first.content, look, named)
    assert chosen == {f"local:{registry}/broken", f"local:{registry}/copy"}
    # One suspect less is another scan.
    fewer = Listed(entries=tuple(e for e in named.entries if "light" not in e.spec), refused=())
    assert chosen_before(plan, first.content, look, fewer) is None
    for other in (
        Look(reference="tiny:teacher", top=2),
        Look(reference="tiny:teacher", top=1, seed=1),
        Look(reference="tiny:sibling", top=1),
    ):
        assert chosen_before(plan, first.content, other, named) is None
    kept = prefilter(replace(look, chosen=frozenset({f"local:{registry}/stranger"})), named)
    assert kept.planned == kept.kept == (f"local:{registry}/stranger",)
    assert kept.content["left_out"] == 4


def test_it_says_that_it_is_context(content):
    assert content["note"].startswith("Context, not evidence")
    assert not {"reading", "p", "conclusion"} & set(content["suspects"][0])


def test_the_tree_has_the_reference_at_its_root_and_every_suspect(content):
    nodes = content["tree"]["nodes"]
    assert (nodes[0]["parent"], nodes[0]["leaf"]) == (None, 0)
    assert sorted(n["leaf"] for n in nodes if n["leaf"] is not None) == list(range(6))
    assert all(node["parent"] < index for index, node in enumerate(nodes) if index)


def test_top_keeps_the_nearest_in_the_order_given(registry):
    found = prefilter(Look(reference="tiny:teacher", top=2), listed((str(registry),)))
    assert found.kept == (f"local:{registry}/copy", f"local:{registry}/light")
    assert found.content["left_out"] == 3
    measured = [row["measured"] for row in found.content["suspects"]]
    assert measured == [True, False, True, False, False]  # copy, heavy, light, reordered, stranger


def test_who_has_no_weights_is_never_left_out(registry, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"probe_id": "inst-0001", "text": "hello"}) + "\n")
    suspects = listed((f"{registry}/copy", f"records:{path}", f"{registry}/stranger"))
    found = prefilter(Look(reference="tiny:teacher", top=1), suspects)
    assert found.kept == (f"local:{registry}/copy", f"records:{path}")
    row = found.content["suspects"][1]
    assert row["distance"] is None
    assert row["undefined"]["weights"] == "only replies of it are at hand"
    assert list(Draft202012Validator(SCHEMA).iter_errors(found.content)) == []


def test_at_equal_distance_more_tensors_in_common_come_first_then_more_tokens():
    rows = [
        {"distance": 0.5, "tensor_reuse": reuse, "vocabulary_overlap": overlap}
        for reuse, overlap in ((0.2, 0.9), (0.7, 0.1), (0.7, 0.4), (None, None))
    ]
    assert [_nearest(rows, top) for top in (1, 2, 3)] == [{2}, {1, 2}, {0, 1, 2}]


def test_of_all_suspects_one_vocabulary_is_in_memory_beside_the_references(registry):
    seen = []

    class Counting:
        @contextlib.contextmanager
        def task(self, description, total):
            yield self

        def advance(self, steps=1):
            seen.append(vocabularies())

    before = vocabularies()
    prefilter(Look(reference="tiny:teacher"), listed((str(registry),)), Counting())
    assert len(seen) == 6
    assert max(seen) - before <= 2


def test_a_reference_without_weights_gives_tokenizers_at_most(registry, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"probe_id": "inst-0001", "text": "hello"}) + "\n")
    found = prefilter(
        Look(reference=f"records:{path}", top=1), listed((f"{registry}/copy", f"{registry}/light"))
    )
    assert found.content["tree"] is None
    assert found.content["left_out"] == 0
    assert "reference" in found.content["suspects"][0]["undefined"]["weights"]
    assert list(Draft202012Validator(SCHEMA).iter_errors(found.content)) == []


def test_nothing_but_broken_models_is_an_error(registry):
    only = Listed(entries=(Entry(spec=f"local:{registry}/broken", origin="here"),), refused=())
    with pytest.raises(InputError, match=r"none of 1 entries can be examined; the first, here:"):
        prefilter(Look(reference="tiny:teacher"), only)


def test_the_same_files_give_the_same_content(registry, content):
    again = prefilter(Look(reference="tiny:teacher"), listed((str(registry),))).content
    assert json.dumps(again, sort_keys=True) == json.dumps(content, sort_keys=True)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\x10\x00", "its header is cut off"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "its header is cut off"),
        ((99_000_000).to_bytes(8, "little") + b"{}", "its header is cut off"),
        ((2).to_bytes(8, "little") + b"[]", "holds no JSON object"),
        ((2).to_bytes(8, "little") + b"\xff\xff", "not JSON"),
    ],
)
def test_headers_that_lie_are_refused_without_reading_on(tmp_path, head, message):
    model = copied("teacher", tmp_path / "m")
    (model / "model.safetensors").write_bytes(head)
    found = prefilter(Look(reference="tiny:teacher"), listed((str(model), "tiny:sibling"))).content
    assert message in found["refused"][0]["reason"]
    assert len(found["suspects"]) == 1


def packed_bytes(folder):
    tensors = load_file(folder / "model.safetensors").values()
    return sum(t.nbytes for t in tensors if t.dtype == np.int32), sum(t.nbytes for t in tensors)


def test_of_a_model_of_packed_weights_no_distance_is_known(tmp_path):
    # Equal norms and embeddings, all projections drawn anew: two different models.
    a, b = (copied("teacher", tmp_path / name, packed(seed)) for seed, name in enumerate("ab"))
    (row,) = prefilter(Look(reference=str(a)), listed((str(b),))).content["suspects"]
    assert (row["same_digest"], row["read_whole"], row["distance"]) == (None, None, None)
    integers, stored = packed_bytes(b)
    assert 2 * integers > stored
    said = f"{integers:,} of {stored:,} bytes are packed weights, which are not read"
    assert row["undefined"] == {"weights": said}
    assert row["same_tokenizer"]


def test_what_is_packed_of_another_model_is_said_beside_its_distance(tmp_path):
    one = r"layers\.0\.mlp\.up_proj"
    a, b = (copied("teacher", tmp_path / n, packed(seed, one)) for seed, n in enumerate("ab"))
    content = prefilter(Look(reference=str(a)), listed((str(b),))).content
    (row,) = content["suspects"]
    # What was read is equal; one matrix was not read.
    assert (row["same_digest"], row["read_whole"], row["distance"]) == (True, False, 0)
    integers, stored = packed_bytes(b)
    assert row["undefined"]["weights"].startswith(f"{integers:,} of {stored:,} bytes are packed")
    assert list(Draft202012Validator(SCHEMA).iter_errors(content)) == []


def test_what_nobody_thought_of_costs_one_suspect(monkeypatch):
    looked = prefilter_module.fingerprint

    def failing(spec, seed, **options):
        if spec == "tiny:independent":
            raise ZeroDivisionError("division by zero")
        return looked(spec, seed, **options)

    monkeypatch.setattr(prefilter_module, "fingerprint", failing)
    suspects = listed(("tiny:independent", "tiny:sibling"))
    found = prefilter(Look(reference="tiny:teacher"), suspects)
    assert found.kept == ("tiny:sibling",)
    (row,) = found.content["refused"]
    assert row["reason"] == "tiny:independent cannot be read: division by zero"
    assert row["hint"]


def test_a_gguf_file_of_another_version_is_refused_by_name(tmp_path):
    pytest.importorskip("gguf")
    path = tmp_path / "old.gguf"
    path.write_bytes(b"GGUF" + (1).to_bytes(4, "little") + bytes(24))
    found = prefilter(Look(reference="tiny:teacher"), listed((str(path), "tiny:sibling"))).content
    assert "GGUF of version 1" in found["refused"][0]["reason"]


@pytest.mark.parametrize("config", [{"model_type": "vit"}, {"model_type": "no-such-type"}])
def test_what_cannot_be_run_is_refused_before_a_scan_and_shown_in_a_look(tmp_path, config):
    model = copied("sibling", tmp_path / "m")
    (model / "config.json").write_text(json.dumps(config))
    suspects = listed((str(model), "tiny:sibling"))
    shown = prefilter(Look(reference="tiny:teacher"), suspects)
    assert len(shown.kept) == 2
    scanned = prefilter(Look(reference="tiny:teacher", measured=True), suspects)
    assert scanned.kept == ("tiny:sibling",)
    assert scanned.content["refused"][0]["origin"] == "argument 1"
