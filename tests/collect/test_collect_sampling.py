"""Sampling when a model fails on some probes, or on this machine."""

import shutil

import pytest
from collect_world import collected, plan_of

from auditor.errors import SubjectError
from auditor.models.transformers_model import TransformersModel
from auditor.pairing import load_pair
from auditor.stored import planned_probes, read_records


@pytest.fixture
def text_plan(models):
    """Return a plan that only samples, two repeats of six probes."""
    return plan_of({"reference": models.reference, "other": models.other}, probes=6, access="TEXT")


def fail_on(monkeypatch, probe_id, error):
    """Make models raise when a probe is among those to sample; return how often they were asked."""
    real, asked = TransformersModel.sample, []

    def stubborn(self, probes, n, decoding, seed):
        asked.append([probe.id for probe in probes])
        if probe_id in asked[-1]:
            raise error
        return real(self, probes, n, decoding, seed)

    monkeypatch.setattr(TransformersModel, "sample", stubborn)
    return asked


def test_failure_on_one_probe_is_recorded_and_costs_no_other(text_plan, tmp_path, monkeypatch):
    good = collected(tmp_path / "good", text_plan)
    bad = planned_probes(good)[1].id
    fail_on(monkeypatch, bad, RuntimeError("the template cannot do this"))
    case = collected(tmp_path / "case", text_plan)
    for expected, found in zip(
        read_records(good, "other"), read_records(case, "other"), strict=True
    ):
        if found["probe_id"] == bad:
            assert found["outcome"] == "error"
            assert found["error"] == "RuntimeError: the template cannot do this"
            assert found["text"] == ""
        else:
            assert found["outcome"] == "ok"
            assert found["text"] == expected["text"]
    probes = [probe.id for probe in load_pair(case, "reference", "other").probes]
    assert bad not in probes
    assert len(probes) == 5


def test_failure_of_this_machine_stops_the_run_and_is_not_recorded(
    text_plan, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        first = text_plan["suites"][0]["probes"][0]
        fail_on(patch, first, MemoryError())
        with pytest.raises(SubjectError, match=f"memory ran out on the single probe '{first}'"):
            collected(tmp_path / "case", text_plan)
    case = collected(tmp_path / "case", text_plan)
    assert all(record["outcome"] == "ok" for record in read_records(case, "reference"))


def test_groups_of_probes_follow_from_the_plan_and_reach_across_suites(
    text_plan, tmp_path, monkeypatch
):
    asked = fail_on(monkeypatch, "none of them", RuntimeError())
    # A small model gets 8 times the 72 tokens: 4 probes of 2 repeats of 64 + 8 tokens each.
    collected(tmp_path / "case", {**text_plan, "batch_tokens": 72})
    probes = [probe for suite in text_plan["suites"] for probe in suite["probes"]]
    assert asked == [probes[:4], probes[4:]] * 2


def test_run_that_stopped_inside_a_group_draws_the_whole_group_again(
    text_plan, tmp_path, monkeypatch
):
    whole = collected(tmp_path / "whole", text_plan)
    cut = collected(tmp_path / "cut", text_plan)
    shutil.rmtree(cut.data / "collected")
    # The group holds both suites; the second file was still to be written.
    (cut.data / "records" / "other" / "continuations@1.jsonl").unlink()
    asked = fail_on(monkeypatch, "none of them", RuntimeError())
    cut = collected(cut.root, text_plan)
    probes = [probe for suite in text_plan["suites"] for probe in suite["probes"]]
    assert asked == [probes]
    assert read_records(cut, "other") == read_records(whole, "other")


def test_draws_depend_on_seed_probe_and_repeat(text_plan, models, tmp_path):
    one = collected(tmp_path / "one", text_plan)
    other_seed = collected(tmp_path / "two", {**text_plan, "seed": 8})
    texts = [[r["text"] for r in read_records(case, "other")] for case in (one, other_seed)]
    assert texts[0] != texts[1]
    first, second = texts[0][:2]  # two repeats of one probe
    assert first != second
