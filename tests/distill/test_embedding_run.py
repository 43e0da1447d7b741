import contextlib
import json
import shutil

import numpy as np
import pytest
from distill_world import changed, weights_digest_of
from embedding_world import embedding_recipe, embedding_values, init, make_encoder, method
from sentence_transformers import SentenceTransformer

from auditor.canon import digest, directory_digests
from auditor.distill import embedding_targets
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_calls import repeat_calls
from auditor.distill.ledger_check import verify
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import CaseError
from auditor.models.encoder import Encoder, open_encoder
from auditor.progress import Silent
from auditor.report.distillation import run_html

TEXTS = ["the cat sat on a mat", "rain fell", "old stone walls near green hills"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of a teacher with dropout, so that a resumed run must find its random state."""
    folder = make_encoder(tmp_path_factory.mktemp("encoder") / "teacher")
    config = json.loads((folder / "config.json").read_text())
    config.update(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, encoder):
    """A finished run: (its recipe, its folder, its lineage)."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = embedding_recipe(folder, encoder)
    return recipe, folder / "run", distill(recipe, folder / "run")


def test_student_comes_closer_to_its_teacher(finished):
    _, run, lineage = finished
    holdout = lineage["results"]["holdout"]
    assert holdout["end"]["loss"] < 0.5 * holdout["start"]["loss"]
    assert holdout["end"]["cosine"] > holdout["start"]["cosine"]
    assert set(holdout["end"]) == {"loss", "cosine", "spearman", "neighbours"}
    assert [step for step, _ in MetricsLog(run / "metrics.jsonl").holdout()] == [0, 8]


def test_student_opens_as_any_encoder(finished):
    _, run, _ = finished
    library = SentenceTransformer(str(run / "student"), device="cpu")
    rows = library.encode(TEXTS, show_progress_bar=False)
    assert rows.shape == (3, 24)
    np.testing.assert_allclose(open_encoder(str(run / "student")).embed(TEXTS), rows, atol=1e-5)


def test_measured_fidelity_is_that_of_the_saved_student(finished, encoder):
    _, run, lineage = finished
    texts = embedded_texts(run)[-lineage["data"]["holdout_texts"] :]
    student, teacher = (open_encoder(str(path)) for path in (run / "student", encoder))
    cosines = (student.embed(texts) * teacher.embed(texts)).sum(axis=1)
    measured = lineage["results"]["holdout"]["end"]["cosine"]
    assert measured == pytest.approx(cosines.mean(), abs=1e-5)


def embedded_texts(run):
    """The texts in the order in which the run embedded them: the held-out ones last."""
    rows = (run.parent / "text.jsonl").read_text().splitlines()
    by_digest = {digest(text.encode()): text for text in (json.loads(row)["text"] for row in rows)}
    lines = (run / "embeddings.jsonl").read_text().splitlines()
    return [by_digest[key] for line in lines for key in json.loads(line)["texts"]]


def test_kept_vectors_are_those_the_teacher_gives(finished, encoder):
    _, run, lineage = finished
    line = json.loads((run / "embeddings.jsonl").read_bytes().split(b"\n")[0])
    library = SentenceTransformer(str(encoder), device="cpu")
    expected = library.encode(embedded_texts(run), show_progress_bar=False)
    np.testing.assert_allclose(embedding_targets.vectors_of(line), expected, atol=1e-5)
    assert lineage["data"]["embeddings"]["texts"] == len(line["texts"]) == len(expected)


def test_every_clause_of_the_record_holds(finished):
    _, run, lineage = finished
    assert [clause.name for clause in verify(FinishedRun(run)) if not clause.passed] == []
    kinds = FinishedRun(run).kinds()
    assert kinds["embedding"] == 1
    assert kinds["batch"] == 8
    assert set(kinds) >= {"permission", "teacher", "data", "train_config", "checkpoint", "student"}
    assert lineage["student"]["layer_map"] == [0, 3]
    assert lineage["dose"]["share"] == 1


def test_a_changed_embedding_is_found(finished, tmp_path):
    _, run, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    line = json.loads((copy / "embeddings.jsonl").read_bytes())
    line["vectors"] = "AAAA" + line["vectors"][4:]
    (copy / "embeddings.jsonl").write_bytes(json.dumps(line).encode() + b"\n")
    failed = [clause.name for clause in verify(FinishedRun(copy)) if not clause.passed]
    assert failed == ["files", "embeddings"]


def test_the_teacher_gives_its_recorded_embeddings_again(finished, tmp_path):
    recipe, run, _ = finished
    clause = repeat_calls(FinishedRun(run), recipe, 10, Silent())
    assert (clause.passed, clause.detail[:37]) == (True, "the teacher gives 10 embeddings again")
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    line = json.loads((copy / "embeddings.jsonl").read_bytes())
    line["vectors"] = "AAAA" + line["vectors"][4:]
    (copy / "embeddings.jsonl").write_bytes(json.dumps(line).encode() + b"\n")
    clause = repeat_calls(FinishedRun(copy), recipe, 999, Silent())
    assert clause.detail == "1 of 60 embeddings differ, the first of text 1"


def test_same_recipe_elsewhere_gives_the_same_bytes(finished, tmp_path):
    recipe, run, lineage = finished
    assert distill(recipe, tmp_path / "again") == lineage
    assert directory_digests(tmp_path / "again") == directory_digests(run)


def test_accumulated_steps_change_no_record_and_hardly_a_number(finished, encoder, tmp_path):
    values = changed(embedding_values(tmp_path, encoder), "train", accumulate=3)
    values["student"] = init()
    cut = distill(recipe_from(values, tmp_path), tmp_path / "cut")
    whole = distill(recipe_from(changed(values, "train", accumulate=1), tmp_path), tmp_path / "one")
    one, three = (run["results"]["holdout"]["end"] for run in (whole, cut))
    assert three["cosine"] == pytest.approx(one["cosine"], abs=1e-5)


class StopError(Exception):
    pass


class Interrupting:
    """Progress that stops the work when a task has advanced so far."""

    def __init__(self, description, after):
        self._description = description
        self._left = after

    @contextlib.contextmanager
    def task(self, description, total):
        yield type("T", (), {"advance": lambda _, n=1: self._advanced(description, n)})()

    def _advanced(self, description, amount):
        if description == self._description:
            self._left -= amount
            if self._left <= 0:
                raise StopError


@pytest.mark.parametrize(
    ("task", "after"), [("teacher embeds texts", 40), ("train student", 2), ("train student", 5)]
)
def test_an_interrupted_run_ends_with_the_same_bytes(finished, tmp_path, monkeypatch, task, after):
    monkeypatch.setattr(embedding_targets, "GROUP", 16)
    recipe = finished[0]
    with pytest.raises(StopError):
        distill(recipe, tmp_path / "run", progress=Interrupting(task, after))
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"step": 7')  # a row cut off by the kill
    distill(recipe, tmp_path / "run")
    distill(recipe, tmp_path / "straight")
    assert directory_digests(tmp_path / "run") == directory_digests(tmp_path / "straight")
    assert weights_digest_of(tmp_path / "run") == weights_digest_of(tmp_path / "straight")


def test_the_teacher_is_asked_once_for_each_text(encoder, tmp_path, monkeypatch):
    asked = []
    real = Encoder.vectors

    def counting(self, texts):
        if self.ref["name"] == encoder.name:
            asked.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(Encoder, "vectors", counting)
    recipe = embedding_recipe(tmp_path, encoder)
    text = tmp_path / "text.jsonl"
    text.write_text(text.read_text() * 2)  # every document twice
    with pytest.raises(StopError):
        distill(recipe, tmp_path / "run", progress=Interrupting("train student", 2))
    distill(recipe, tmp_path / "run")
    assert len(asked) == len({*asked}) == len({*text.read_text().splitlines()})


def test_recorded_embeddings_are_never_edited(encoder, tmp_path):
    recipe = embedding_recipe(tmp_path, encoder)
    with pytest.raises(StopError):
        distill(recipe, tmp_path / "run", progress=Interrupting("train student", 2))
    path = tmp_path / "run" / "embeddings.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"seq":0', b'"seq":1'))
    with pytest.raises(CaseError, match="line 1: not the line that was written here"):
        distill(recipe, tmp_path / "run")


STUDENTS = {
    "narrow": {"student": init()},
    "wide as the teacher": {"student": init(hidden=24)},
    "similarity": {"student": init(), "method": method(loss="similarity")},
    "bytes": {"student": init(tokenizer="bytes"), "method": method(loss="cosine")},
}


@pytest.mark.parametrize("changes", STUDENTS.values(), ids=STUDENTS)
def test_students_of_any_shape_learn_and_are_forecast(encoder, tmp_path, changes):
    values = changed(embedding_values(tmp_path, encoder, **changes), "train", steps=20, lr=0.01)
    recipe = recipe_from(values, tmp_path)
    forecasted = forecast(recipe)
    lineage = distill(recipe, tmp_path / "run")
    holdout = lineage["results"]["holdout"]
    assert holdout["end"]["loss"] < 0.9 * holdout["start"]["loss"]
    assert forecasted["student"]["parameters"] == lineage["student"]["parameters"]
    assert forecasted["data"]["text_tokens"] == lineage["data"]["train_targets"]
    assert (
        forecasted["cache"]["bytes_at_most"] >= (tmp_path / "run/embeddings.jsonl").stat().st_size
    )
    width = 16 if "similarity" in str(changes) else 24
    assert open_encoder(str(tmp_path / "run" / "student")).embed(TEXTS).shape == (3, width)


def test_student_from_a_transformer_without_pooling_is_a_mean_over_tokens(encoder, tmp_path):
    plain = make_encoder(tmp_path / "plain", hidden=16, seed=9)
    (plain / "modules.json").unlink()
    values = embedding_values(tmp_path, encoder, student={"from": f"local:{plain}"})
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    assert lineage["student"]["started_from"]["spec"] == f"local:{plain}"
    kinds = json.loads((tmp_path / "run/student/modules.json").read_text())
    assert [part["type"].rpartition(".")[2] for part in kinds] == [
        "Transformer",
        "Pooling",
        "Dense",
        "Normalize",
    ]


def test_a_prompt_of_the_teacher_is_learnt_and_not_repeated(tmp_path):
    folder = make_encoder(tmp_path / "teacher")
    prompts = {"prompts": {"query": "rain fell: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    distill(embedding_recipe(tmp_path, folder), tmp_path / "run")
    student = SentenceTransformer(str(tmp_path / "run" / "student"), device="cpu")
    assert student.default_prompt_name is None
    line = json.loads((tmp_path / "run" / "embeddings.jsonl").read_bytes())
    texts = [f"rain fell: {text}" for text in embedded_texts(tmp_path / "run")]
    bare = SentenceTransformer(str(folder), device="cpu")
    bare.default_prompt_name = None
    expected = bare.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(embedding_targets.vectors_of(line), expected, atol=1e-5)


def test_report_names_the_method_and_its_numbers(finished):
    page = run_html(finished[1])
    assert "to embed texts as the teacher does" in page
    assert "Rank correlation of the similarities of all pairs of texts" in page
    assert "Loss (squared error)" in page
    assert "nats" not in page


def test_nothing_is_printed(encoder, tmp_path, capfd):
    recipe = embedding_recipe(tmp_path, encoder)
    distill(recipe, tmp_path / "run")
    assert capfd.readouterr() == ("", "")
