"""The published statistics on real model folders, against what is computed from the modules."""

import numpy as np
import pytest
import torch
from comparison_world import TEXTS, gpt2_folder, llama_folder

from auditor.controls.comparison.observed import observe, shared_embeddings
from auditor.controls.comparison.statistics import PublishedStatistics, suite_texts
from auditor.models.loading import load_transformers

READINGS = ("raw-jsd", "std-profile", "biased-cka", "embedding-gram")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("observed")
    return {
        "reference": llama_folder(root / "reference", 1),
        "other": llama_folder(root / "other", 2),
        "gpt2": gpt2_folder(root / "gpt2", 3),
    }


@pytest.fixture(scope="module")
def statistics():
    return PublishedStatistics(TEXTS)


def by_name(results):
    return {one.reading: one for one in results}


def test_a_model_compared_with_itself_has_the_best_of_every_score(statistics, folders):
    found = by_name(statistics.compare(folders["reference"], folders["reference"]))
    assert tuple(found) == statistics.readings == READINGS
    assert [found[name].score for name in READINGS] == pytest.approx([0.0, 1.0, 1.0, 1.0], abs=1e-9)
    # They are scores and no verdicts.
    assert {(one.verdict, one.accuses_any, one.accuses_replication) for one in found.values()} == {
        (None, None, None)
    }
    assert all(one.seconds > 0 for one in found.values())


def test_raw_jsd_is_minus_the_divergence_of_the_modules_own_softmaxes(statistics, folders):
    sums, count = 0.0, 0
    a, b = (load_transformers(str(folders[name])) for name in ("reference", "other"))
    for text in TEXTS:
        ids = a.tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            p, q = (torch.softmax(m.module(input_ids=ids).logits[0].double(), -1) for m in (a, b))
        middle = (p + q) / 2
        js = ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2
        sums, count = sums + float(js.sum()), count + len(js)
    found = by_name(statistics.compare(folders["other"], folders["reference"]))
    assert found["raw-jsd"].score == pytest.approx(-sums / count, rel=1e-5)


@pytest.mark.parametrize("name", ["reference", "gpt2"])
def test_profiles_and_layer_states_are_those_of_the_module(folders, name):
    loaded = load_transformers(str(folders[name]))
    found = observe(folders[name], TEXTS)
    weights = loaded.module.state_dict()
    if name == "gpt2":
        fused = [weights[f"transformer.h.{n}.attn.c_attn.weight"].double() for n in range(3)]
        query = [float(w[:, :16].std(correction=0)) for w in fused]
        value = [float(w[:, 32:].std(correction=0)) for w in fused]
    else:
        at = "model.layers.{}.self_attn.{}_proj.weight"
        query, value = (
            [float(weights[at.format(n, role)].double().std(correction=0)) for n in range(3)]
            for role in "qv"
        )
    assert found.stds.shape == (4, 3)
    assert found.stds[0] == pytest.approx(query, rel=1e-9)
    assert found.stds[2] == pytest.approx(value, rel=1e-9)
    # 18/32 of 3 layers is layer 2; each text alone, so that nothing is padded.
    ids = loaded.tokenizer(TEXTS[1], return_tensors="pt").input_ids
    with torch.inference_mode():
        states = loaded.module(input_ids=ids, output_hidden_states=True).hidden_states[2][0, -1]
    assert found.layer_states.shape == (len(TEXTS), 16)
    assert found.layer_states[1] == pytest.approx(states.double().numpy(), abs=1e-5)


def test_embeddings_are_paired_by_the_bytes_that_they_stand_for(folders):
    ours, theirs = (observe(folders[name], TEXTS[:1]) for name in ("reference", "gpt2"))
    a, b = shared_embeddings(ours, theirs)
    # The 256 bytes; start, end and padding stand for no bytes.
    assert a.shape == b.shape == (256, 16)
    assert np.array_equal(a, ours.embeddings[:256])
    assert np.array_equal(b, theirs.embeddings[:256])


def test_a_model_of_another_depth_keeps_the_statistics_that_it_has(statistics, tmp_path, folders):
    suspect = llama_folder(tmp_path / "deep", 4, layers=4)
    found = by_name(statistics.compare(suspect, folders["reference"]))
    assert found["std-profile"].score is None
    assert "equal depths" in found["std-profile"].failure
    assert all(found[name].score is not None for name in READINGS if name != "std-profile")


def test_a_model_with_another_vocabulary_has_no_divergence_but_the_rest(
    statistics, tmp_path, folders
):
    suspect = llama_folder(tmp_path / "words", 5)
    tokenizer = (suspect / "tokenizer.json").read_text()
    # Two bytes change places, so that an id no longer means the same.
    swapped = tokenizer.replace('"A": 65', '"A": 66').replace('"B": 66', '"B": 65', 1)
    assert swapped != tokenizer
    (suspect / "tokenizer.json").write_text(swapped)
    found = by_name(statistics.compare(suspect, folders["reference"]))
    assert "vocabularies are not the same" in found["raw-jsd"].failure
    assert found["biased-cka"].score is not None


def test_a_folder_that_cannot_be_read_is_a_reason_for_each_statistic(statistics, tmp_path, folders):
    found = statistics.compare(tmp_path / "none", folders["reference"])
    assert {one.reading for one in found} == set(READINGS)
    assert all(one.score is None and "does not exist" in one.failure for one in found)


def test_a_text_beyond_the_positions_of_a_model_is_a_reason(folders):
    long = PublishedStatistics(["x" * 80])  # GPT-2 here has 64 positions
    found = long.compare(folders["gpt2"], folders["reference"])
    assert all(one.score is None and "64" in one.failure for one in found)


def test_the_default_texts_are_200_of_a_shipped_suite():
    texts = suite_texts()
    assert len(texts) == len(set(texts)) == 200
