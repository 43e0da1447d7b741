"""A small pack made for real: every kind of member, repeatable, and continued where it was cut."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_pack_members import SMALL

from auditor.canon import file_digest
from auditor.controls import pack_training
from auditor.controls.material import Windows, bpe_tokenizer
from auditor.controls.pack_folder import PackFolder
from auditor.controls.pack_training import jobs_of, run_job
from auditor.controls.recipe import PackRecipe
from auditor.controls.rewording import reworded
from auditor.errors import CaseError
from auditor.models import identify, open_model

RECIPE = PackRecipe.model_validate(SMALL)


def make(root: Path) -> PackFolder:
    folder = PackFolder(RECIPE, root)
    folder.claim()
    for job in jobs_of(folder):
        if not all(path.exists() for path in job.makes):
            run_job(RECIPE, root, job)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> PackFolder:
    patch = pytest.MonkeyPatch()
    patch.setattr(pack_training, "WRITTEN_DOCUMENTS", 40)
    yield make(tmp_path_factory.mktemp("pack"))
    patch.undo()


def cosine(a, b) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def weights(folder: PackFolder, name: str) -> str:
    return file_digest(folder.model(name) / "model.safetensors")


def test_every_member_is_a_model_that_opens(folder):
    for name in folder.members:
        assert identify(f"local:{folder.model(name)}").architecture == "LlamaForCausalLM"
    model = open_model(f"local:{folder.model('student-00')}")
    (score,) = model.score(["A short text."])
    assert len(score.logprobs) == len(b"A short text.")
    assert np.isfinite(score.logprobs).all()


def test_members_of_a_group_differ(folder):
    assert len({weights(folder, f"free-{i:02d}") for i in range(3)}) == 3


def test_a_fine_tune_starts_from_the_reference_and_leaves_it(folder):
    reference, tuned = (folder.load(name) for name in ("reference-00", "tuned-00"))
    key = "model.layers.0.mlp.up_proj.weight"
    independent = folder.load("free-00")[key]
    assert cosine(tuned[key], reference[key]) > 0.5
    # 256 random numbers: a standard deviation of 1/16.
    assert abs(cosine(independent, reference[key])) < 0.3


def test_a_cut_pack_is_continued_with_the_same_bytes(folder):
    names = ["sib-01", "tuned-00", "rounded-00"]
    before = {name: weights(folder, name) for name in folder.members}
    for name in names:
        shutil.rmtree(folder.model(name))
    make(folder.root)
    assert {name: weights(folder, name) for name in folder.members} == before


def test_the_folder_of_another_recipe_is_refused(folder):
    other = PackRecipe.model_validate({**SMALL, "seed": 8})
    with pytest.raises(CaseError, match="pack of another recipe"):
        PackFolder(other, folder.root).claim()


def test_teachers_write_documents_of_their_own(folder):
    texts = sorted((folder.root / "texts").iterdir())
    contents = [json.loads(path.read_bytes()) for path in texts]
    assert [path.name for path in texts] == [f"free-0{i}-1.json" for i in range(3)]
    assert all(len(documents) >= 40 for documents in contents)
    assert contents[0] != contents[1]


def test_windows_hold_the_dose_and_follow_the_seed():
    own, imitated = np.zeros(500, dtype=np.int32), np.ones(500, dtype=np.int32)
    tokens, chosen = Windows(own, imitated, 0.25, seed=3).draw(4000, 10)
    # 4,000 draws at 0.25: standard deviation 0.0068.
    assert abs(chosen.mean() - 0.25) < 0.03
    assert (tokens == chosen[:, None]).all()
    again, _ = Windows(own, imitated, 0.25, seed=3).draw(4000, 10)
    assert (again == tokens).all()


def test_no_dose_is_drawn_without_imitated_text():
    _, chosen = Windows(np.zeros(50, dtype=np.int32), None, 1.0, seed=0).draw(20, 10)
    assert not chosen.any()


def test_the_merged_tokenizer_returns_every_text_unchanged():
    tokenizer = bpe_tokenizer(["the cat sat on the mat"] * 20, 300)
    assert len(tokenizer) <= 300
    for text in ("the cat", " two  spaces\n", "naïve ☃ 𝄞", ""):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False) == text


def test_rewording_keeps_capitals_and_everything_unknown():
    assert reworded("Many said: the old hill.") == "A lot of spoke up: the aged slope."
    assert reworded("Xyz 12, sayings.") == "Xyz 12, sayings."
