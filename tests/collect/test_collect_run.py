"""What a run does, in which order, and what it refuses."""

import json

import pytest
from collect_world import PROBES, collected, plan_of, save_model

from auditor.canon import directory_digests
from auditor.case import Case
from auditor.collect.suite import suite_path
from auditor.errors import CaseError
from auditor.pairing import load_pair
from auditor.stored import planned_probes, read_records


def test_different_vocabularies_leave_texts_and_states_comparable(case):
    pair = load_pair(case, "reference", "foreign")
    assert pair.positions is None
    assert "different vocabularies: 259 token ids of the reference, 260" in pair.why["positions"]
    assert len(pair.probes) == PROBES
    assert pair.suspect.hidden.shape == (PROBES, 32)
    assert all(len(texts) == 2 for texts in pair.suspect.texts)


def test_recorded_outputs_give_texts_and_reasons_for_the_rest(case):
    pair = load_pair(case, "reference", "recorded")
    assert {"positions", "topk", "scores", "hidden"} <= set(pair.why)
    assert "offers TEXT access only" in pair.why["positions"]
    # One reply a probe was recorded, and none to the first probe.
    assert [probe.id for probe in pair.probes] == [p.id for p in planned_probes(case)][1:]
    assert pair.suspect.texts[0] == ("",)
    assert pair.suspect.texts[1] == (f"the reply to {pair.probes[1].id}",)


def test_replies_that_are_missing_stand_in_errors_with_the_reason(case):
    lines = (case.data / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    errors = [json.loads(line) for line in lines]
    assert {error["subject"] for error in errors} == {"recorded"}
    first = planned_probes(case)[0].id
    assert [e["repeat"] for e in errors if e["probe_id"] == first] == [0, 1]
    # Of the others, the second repeat was not recorded.
    assert len(errors) == 2 + (PROBES - 1)
    assert all("lacks" in error["error"] for error in errors)


def test_empty_reply_is_recorded_as_empty(case):
    outcomes = [r["outcome"] for r in read_records(case, "recorded") if r["repeat"] == 0]
    assert outcomes[:3] == ["error", "empty", "ok"]


def test_suites_are_copied_byte_for_byte(case, plan):
    for suite in plan["suites"]:
        name = f"{suite['name']}@{suite['version']}"
        copied = directory_digests(case.data / "probes" / name)
        assert copied == directory_digests(suite_path(name), copied)


def test_each_subject_is_described_with_its_effective_access(case):
    subjects = case.read_json("subjects.json")["subjects"]
    assert [s["name"] for s in subjects] == ["reference", "itself", "other", "foreign", "recorded"]
    assert [s["ref"]["access"] for s in subjects] == ["WEIGHTS"] * 4 + ["TEXT"]
    collected_file = case.read_json("collected/other.json")
    assert collected_file["implementation"] == "chunked"
    missing = collected_file["missing"]
    assert missing["embeddings"] == "the plan names no encoder"
    assert not {"positions", "topk", "scores", "hidden", "neurons", "span"} & set(missing)


def test_collected_files_list_the_digests_of_what_a_subject_has(case):
    digests = case.read_json("collected/other.json")["digests"]
    kinds = {name.split("/")[1] for name in digests if name.startswith("arrays/")}
    assert kinds >= {"agreement", "hidden", "neurons", "scores", "span", "topk", "weight_cka"}
    assert directory_digests(case.data, digests) == digests


def test_environment_tells_versions_and_not_whose_machine_it_was(case):
    import platform

    import torch

    environment = case.read_json("environment.json")
    assert environment["python"] == platform.python_version()
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["torch_threads"] == 1
    assert not {"node", "hostname", "user", "time"} & set(environment)


def test_every_progress_task_reaches_its_total(models, tmp_path):
    import contextlib

    from auditor.case import open_case
    from auditor.collect.run import collect_case

    done = {}

    class Recorder:
        @contextlib.contextmanager
        def task(self, description, total):
            done[description] = [0, total]

            class Task:
                def advance(self, amount=1):
                    done[description][0] += amount

            yield Task()

    plan = plan_of({"reference": models.reference, "other": models.other}, probes=2, repeats=1)
    collect_case(open_case(tmp_path / "case", plan), Recorder())
    stages = [f"{what} {name}" for name in ("reference", "other") for what in _STAGES]
    assert all(advanced == total for advanced, total in done.values())
    assert {stage: done[stage] for stage in stages} == {stage: [2, 2] for stage in stages}


_STAGES = ("sample", "read", "score")


def test_complete_case_is_left_alone(case, plan):
    before = directory_digests(case.root)
    collected(case.root, plan)
    assert directory_digests(case.root) == before


def test_plan_that_allows_text_only_keeps_nothing_else(models, tmp_path):
    plan = plan_of({"reference": models.reference, "other": models.other}, access="TEXT")
    case = collected(tmp_path / "case", plan)
    assert not (case.data / "arrays").exists()
    why = load_pair(case, "reference", "other").why
    assert "the plan allows TEXT access only" in why["positions"]
    assert case.read_json("subjects.json")["subjects"][0]["ref"]["access"] == "TEXT"


def test_model_that_changed_since_the_plan_is_refused(tmp_path):
    folder = save_model(tmp_path / "model", 3)
    plan = plan_of({"reference": folder, "suspect": folder})
    save_model(folder, 4)
    with pytest.raises(CaseError, match="not the model that was planned"):
        collected(tmp_path / "case", plan)


def test_suite_that_changed_since_the_plan_is_refused(models, tmp_path):
    plan = plan_of({"reference": models.reference, "other": models.other})
    plan["suites"][0]["digest"] = "sha256:" + "0" * 64
    with pytest.raises(CaseError, match="suite reasoning@1 is not the one that was planned"):
        collected(tmp_path / "case", plan)


def test_each_model_is_opened_once_and_closed_before_the_next(models, tmp_path, monkeypatch):
    import auditor.models as package

    opened = []
    real = package.open_model

    def counted(spec, **options):
        assert all(model._loaded is None for _, model in opened)
        opened.append((spec, real(spec, **options)))
        return opened[-1][1]

    monkeypatch.setattr(package, "open_model", counted)
    names = {"reference": models.reference, "other": models.other, "itself": models.reference}
    plan = plan_of(names, probes=2, repeats=1)
    collected(tmp_path / "case", plan)
    assert [spec for spec, _ in opened] == [plan["subjects"][i]["spec"] for i in (0, 1)]


def test_hidden_states_of_one_batch_only_are_alive(models, tmp_path, monkeypatch):
    import weakref

    from auditor.models.transformers_model import TransformersModel

    alive = []
    real = TransformersModel.hidden_batch

    def watched(self, sequences, **options):
        assert sum(reference() is not None for reference in alive) == 0
        states = real(self, sequences, **options)
        alive.extend(weakref.ref(state) for state in states)
        return states

    monkeypatch.setattr(TransformersModel, "hidden_batch", watched)
    plan = plan_of({"reference": models.reference, "other": models.other}, repeats=1)
    case = collected(tmp_path / "case", plan)
    # Read by both models. A reply that is no UTF-8 is scored from its text, which has other tokens.
    replies = [r["text"] for r in read_records(case, "reference")]
    assert len(alive) == 2 * PROBES + 2 * sum("\ufffd" in reply for reply in replies)


def test_greedy_texts_do_not_depend_on_the_batch_size(models, tmp_path):
    greedy = {"max_new_tokens": 8, "temperature": 0.0, "top_k": 0, "top_p": 1.0}
    texts = []
    for budget in (64, 4096):
        plan = plan_of(
            {"reference": models.reference, "other": models.other},
            decoding=greedy,
            batch_tokens=budget,
            access="TEXT",
            repeats=1,
        )
        case = collected(tmp_path / str(budget), plan)
        texts.append([record["text"] for record in read_records(case, "reference")])
    assert texts[0] == texts[1]


def test_lost_scratch_is_made_again(case, plan, tmp_path):
    # The reference is complete, the others are not, and work/ is gone.
    import shutil

    again = Case(tmp_path / "case")
    shutil.copytree(case.data, again.data)
    for name in ("itself", "other", "foreign", "recorded"):
        (again.data / "collected" / f"{name}.json").unlink()
    for kind in ("agreement", "hidden"):
        (again.data / "arrays" / kind / "other.npy").unlink()
    collected(again.root, plan)
    found, expected = (directory_digests(c.data) for c in (again, case))
    assert found.pop("custody.jsonl") != expected.pop("custody.jsonl")
    assert found == expected
