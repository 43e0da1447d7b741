"""Scores of the texts of a committed training order: their values, a resume, and the refusals."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from collect_world import collected, plan_of

from auditor.canon import digest, pretty_json
from auditor.collect.transcript import BYTES, TEXTS, committed_texts
from auditor.distill.recipe import recipe_from
from auditor.distill.recipe_student import Init
from auditor.distill.run import distill
from auditor.distill.student import random_module
from auditor.errors import InputError
from auditor.models import identify, open_model
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.pairing import load_pair
from auditor.panel import TRANSCRIPT

WORDS = "the cat sat on a mat while rain fell over old stone walls near green hills".split()


def text_of(random, words):
    return " ".join(random.choice(WORDS, words)) + "."


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: folder, and the specifier and digest of its student."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.RandomState(1)
    rows = [json.dumps({"text": text_of(random, 9)}) for _ in range(40)]
    (folder / "text.jsonl").write_text("\n".join(rows))
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    values = {
        "student": {"init": {**init, "max_length": 512}},
        "data": {"text": "text.jsonl", "max_length": 40, "holdout": 0.0},
        "method": {"kind": "baseline"},
        "train": {"steps": 30, "batch_tokens": 80, "lr": 0.003},
    }
    distill(recipe_from(values, folder), folder / "out")
    spec = f"local:{folder / 'out' / 'student'}"
    return SimpleNamespace(root=folder / "out", spec=spec, digest=identify(spec).digest)


@pytest.fixture(scope="module")
def planned(run, models, recorded):
    subjects = {"reference": run.spec, "other": models.other, "recorded": recorded}
    return plan_of(subjects, probes=2, repeats=1, batch_tokens=400)


@pytest.fixture(scope="module")
def scored(planned, tmp_path_factory):
    return collected(tmp_path_factory.mktemp("scored") / "case", planned)


def test_each_row_is_the_text_of_its_place_as_the_subject_finds_it(run, models, scored):
    lines = [json.loads(line) for line in (run.root / "transcript.jsonl").read_bytes().splitlines()]
    pair = load_pair(scored, "reference", "other")
    for rows, spec in zip(pair.transcripts, (run.spec, models.other), strict=True):
        assert rows.dtype == TRANSCRIPT
        assert rows["text"].tolist() == [line["position"] for line in lines[1:]]
        assert rows["step"].tolist() == [line["step"] for line in lines[1:]]
        model = open_model(str(spec), device="cpu")
        one = next(iter(model.score([lines[8]["text"]])))
        # One forward pass alone or beside others: equal up to the rounding of float32.
        assert rows["logprob"][7] == pytest.approx(one.logprobs.sum(), rel=1e-5)
        assert rows["bytes"][7] == len(lines[8]["text"].encode())


def test_controls_of_the_pool_bring_their_scores(run, models, tmp_path):
    plan = plan_of({"reference": run.spec, "suspect": models.other, "control": models.reference})
    plan["subjects"][2]["role"] = "independent"
    case = collected(tmp_path / "case", {**plan_of({"a": run.spec}, probes=1, repeats=1), **plan})
    (control,) = load_pair(case, "reference", "suspect").pool
    ours = load_pair(case, "reference", "suspect").transcripts[0]
    assert control.transcript["text"].tolist() == ours["text"].tolist()
    assert control.transcript["logprob"].tolist() != ours["logprob"].tolist()


def test_a_case_that_was_cut_in_the_middle_gives_the_same_bytes(scored, planned, tmp_path):
    again = tmp_path / "case"
    shutil.copytree(scored.root, again)
    shutil.rmtree(again / "data" / "collected")
    path = again / "data" / "arrays" / "transcript" / "other.npy"
    whole = path.read_bytes()
    path.unlink()
    # A torn row after some whole ones, of which not all are a whole batch.
    kept = 128 + 17 * TRANSCRIPT.itemsize + 5
    path.with_name("other.npy.part").write_bytes(whole[:kept])
    collected(again, planned)
    assert path.read_bytes() == whole
    cuts = [
        json.loads(line) for line in (again / "data" / "custody.jsonl").read_text().splitlines()
    ]
    assert any(cut.get("file") == "data/arrays/transcript/other.npy" for cut in cuts)


def test_a_subject_without_likelihoods_has_the_reason(scored):
    pair = load_pair(scored, "reference", "recorded")
    assert pair.transcripts is None
    assert "offers TEXT access only" in pair.why["transcripts"]


def test_a_reference_of_unknown_training_is_the_reason(case):
    pair = load_pair(case, "reference", "other")
    assert pair.transcripts is None
    assert "no committed training order" in pair.why["transcripts"]
    assert "is not the student folder of a distillation run" in pair.why["transcripts"]


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run that a test may change."""
    shutil.copytree(run.root, tmp_path / "copy")
    return tmp_path / "copy"


def assert_refused(folder, student, reason):
    with pytest.raises(InputError, match=f"no committed training order: .*{reason}"):
        committed_texts(f"local:{folder / 'student'}", student)


def test_a_run_that_was_moved_keeps_its_order(run, copy):
    assert committed_texts(f"local:{copy / 'student'}", run.digest) == committed_texts(
        run.spec, run.digest
    )


def test_a_changed_order_is_refused(run, copy):
    path = copy / "transcript.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[:0:-1]]))
    assert_refused(copy, run.digest, "missing or not the one of the lineage")
    path.unlink()
    assert_refused(copy, run.digest, "missing or not the one of the lineage")


def test_a_lineage_of_another_student_or_of_no_order_is_refused(run, copy):
    assert_refused(
        copy, "sha256:" + "0" * 64, "not the student that the lineage beside it describes"
    )
    assert_refused(copy, None, "not the student that the lineage beside it describes")
    lineage = json.loads((copy / "lineage.json").read_bytes())
    del lineage["files"]["transcript.jsonl"]
    (copy / "lineage.json").write_bytes(pretty_json(lineage))
    assert_refused(copy, run.digest, "names no transcript.jsonl")
    (copy / "lineage.json").write_text("{")
    assert_refused(copy, run.digest, "is not JSON")


def committed(copy, content):
    """Put another transcript into a run, committed to."""
    (copy / "transcript.jsonl").write_bytes(content)
    lineage = json.loads((copy / "lineage.json").read_bytes())
    lineage["files"]["transcript.jsonl"] = digest(content)
    (copy / "lineage.json").write_bytes(pretty_json(lineage))


def test_another_version_and_an_empty_order_are_refused(run, copy):
    committed(copy, b'{"schema":"auditor/transcript/2"}\n')
    assert_refused(copy, run.digest, "reads auditor/transcript/1, found auditor/transcript/2")
    committed(copy, b'{"schema":"auditor/transcript/1"}\n')
    assert_refused(copy, run.digest, "trained on no text")


def test_long_orders_and_texts_are_cut_evenly_and_between_characters(run, copy):
    rows = [{"position": i, "step": i // 3, "text": "\u00e9" * 300} for i in range(2000)]
    lines = [{"schema": "auditor/transcript/1"}, *rows]
    committed(copy, "\n".join(json.dumps(line) for line in lines).encode())
    texts = committed_texts(f"local:{copy / 'student'}", run.digest)
    assert len(texts) == TEXTS
    assert (texts[0].position, texts[-1].position) == (0, 1999)
    assert set(np.diff([text.position for text in texts])) <= {3, 4}
    assert texts[0].text == "\u00e9" * (BYTES // 2)


def test_a_suspect_that_reads_no_such_texts_has_the_reason(run, tmp_path):
    narrow, tokenizer = tmp_path / "narrow", byte_tokenizer()
    init = Init(architecture="gpt2", hidden=16, layers=1, heads=2, max_length=30)
    random_module(init, tokenizer).save_pretrained(narrow)
    tokenizer.save_pretrained(narrow)
    plan = plan_of({"reference": run.spec, "narrow": narrow}, probes=1, repeats=1)
    case = collected(tmp_path / "case", plan)
    pair = load_pair(case, "reference", "narrow")
    assert pair.transcripts is None
    assert "30" in pair.why["transcripts"]
    assert not (case.data / "arrays" / "transcript" / "narrow.npy.part").exists()
