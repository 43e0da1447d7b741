"""Scores of the reference's texts: some out of the shared pass, the others read once more."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from collect_world import collected

from auditor.case import Case
from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.custody import Custody
from auditor.collect.scoring import SCORE, _scored, kept_scores, score_texts, text_scores
from auditor.collect.sequences import ForcedText, ReferenceText, kept_texts
from auditor.collect.store import part_path
from auditor.models import open_model
from auditor.models.base import Encoded
from auditor.progress import Silent
from auditor.stored import read_array


@pytest.fixture(scope="module")
def whole(small_plan, tmp_path_factory):
    """A case, its model `other`, and the scores that a run without interruption wrote of it."""
    case = collected(tmp_path_factory.mktemp("whole") / "case", small_plan)
    model = open_model(small_plan["subjects"][1]["spec"])
    yield SimpleNamespace(
        case=case, model=model, scores=np.array(read_array(case, "scores", "other"))
    )
    model.close()


@pytest.fixture
def run(whole, small_plan, tmp_path):
    """The same case without the scores of `other`."""
    shutil.copytree(whole.case.root, tmp_path / "case")
    case = Case(tmp_path / "case")
    case.array("scores", "other").unlink()
    with Custody(case) as custody:
        yield Collection(case=case, plan=small_plan, custody=custody, progress=Silent())


def keep(run, rows):
    """Put rows where the shared pass keeps its own."""
    with ArrayWriter(kept_scores(run.case, "other"), SCORE, len(rows)) as writer:
        writer.append(rows)
        writer.finish()


def scored(run, whole):
    texts = kept_texts(whole.model, run.case, run.reference)
    assert sum(score_texts(run, whole.model, "other", texts)) == len(texts)
    return read_array(run.case, "scores", "other")


def by_probe(rows):
    return rows[np.argsort(rows["probe"], kind="stable")]


def same_scores(found, expected):
    for column in ("probe", "token", "byte_end"):
        assert found[column].tolist() == expected[column].tolist()
    assert found["logprob"] == pytest.approx(expected["logprob"], rel=1e-4)


@pytest.mark.parametrize("kept", [0, 2, 6])
def test_texts_that_the_pass_scored_are_copied_and_the_others_are_read(run, whole, kept):
    rows = by_probe(whole.scores)
    marked = rows[rows["probe"] < kept].copy()
    marked["logprob"] -= 100.0  # what is copied is not computed again
    if kept:
        keep(run, marked)
    found = scored(run, whole)
    assert found[: len(marked)].tolist() == marked.tolist()
    same_scores(by_probe(found[len(marked) :]), rows[rows["probe"] >= kept])


@pytest.mark.parametrize("left", ["within the copy", "after the copy", "within a batch", "batches"])
def test_a_cut_run_goes_on_after_what_is_whole(run, whole, left):
    rows = by_probe(whole.scores)
    kept = rows[rows["probe"] < 2]
    keep(run, kept)
    expected = scored(run, whole).copy()
    path = run.case.array("scores", "other")
    sizes = {
        "within the copy": len(kept) // 2,
        "after the copy": len(kept),
        "within a batch": len(kept) + 1,
        "batches": len(expected) - 1,
    }
    before = expected[: sizes[left]].copy()
    path.unlink()
    with ArrayWriter(path, SCORE, None) as writer:
        writer.append(before)
    assert part_path(path).is_file()
    assert scored(run, whole).tolist() == expected.tolist()


def test_only_sequences_that_hold_a_text_token_for_token_are_scored_in_the_pass(run, whole):
    texts = list(kept_texts(whole.model, run.case, run.reference))
    ids = [whole.model.encode(text.prompt + text.reply).token_ids for text in texts]
    forced = [
        ForcedText(text.probe, np.array(read, dtype=np.int32), 0)
        for text, read in zip(texts, ids, strict=True)
    ]
    forced[1].token_ids[-1] += 1  # read as another token than it was written
    counts = {probe: int((whole.scores["probe"] == probe).sum()) for probe in range(len(texts))}
    found = text_scores(run, whole.model, "other", forced)
    assert [found.count(text) for text in forced] == [
        counts[0],
        0,
        *(counts[i] for i in range(2, 6)),
    ]
    found.writer.close()


def test_sequences_without_a_text_are_passed_over(run, whole, monkeypatch):
    texts = list(kept_texts(whole.model, run.case, run.reference))
    forced = [
        ForcedText(t.probe, np.array(whole.model.encode(t.prompt + t.reply).token_ids, np.int32), 0)
        for t in texts
    ]
    lacking = [text for text in texts if text.probe not in (1, 2, 3)]
    monkeypatch.setattr("auditor.collect.scoring.reference_texts", lambda *_: iter(lacking))
    found = text_scores(run, whole.model, "other", forced)
    assert [found.count(text) > 0 for text in forced] == [True, False, False, False, True, True]
    found.writer.close()


def test_the_first_token_of_all_is_predicted_by_nothing():
    text = ReferenceText(0, "", "abc", 0)
    rows = _scored(text, Encoded(token_ids=(7, 8, 9), byte_ends=(1, 2, 3)))
    assert rows["place"].tolist() == [1, 2]
    assert rows["token"].tolist() == [8, 9]
    assert rows["byte_end"].tolist() == [2, 3]
