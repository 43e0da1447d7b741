"""Reading a case back, without any model."""

import json

import numpy as np
import pytest
from traced_memory import peak

from auditor.answered import load_outputs
from auditor.canon import canonical_json, leaf_hash
from auditor.case import Case
from auditor.errors import CaseError, UndefinedError
from auditor.outputs import POSITION
from auditor.pairing import load_pair
from auditor.stored import (
    chained_lines,
    planned_probes,
    read_array,
    read_records,
    read_refs,
)
from auditor.texts import stored_texts
from auditor.withheld import Withheld

ITEMS = [
    {"id": "a-1", "category": "c", "messages": [{"role": "user", "content": "one"}]},
    {"id": "a-2", "category": "c", "text": "two", "language": "de"},
    {
        "id": "a-3",
        "category": "c",
        "messages": [{"role": "user", "content": "three"}],
        "answer": {"kind": "choice", "value": "x", "choices": ["x", "y"]},
    },
]
MANIFEST = 'name = "s"\nversion = 1\nweight = 0\nlanguages = ["en"]\n'
SUBJECTS = ("ref", "sus")


def write_chain(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    previous, lines = "", []
    for number, row in enumerate(rows):
        line = canonical_json({**row, "seq": number, "prev": previous})
        lines.append(line + b"\n")
        previous = leaf_hash(line)
    path.write_bytes(b"".join(lines))


def record(subject, probe, repeat, text):
    outcome = "error" if text is None else "ok" if text else "empty"
    fields = {"subject": subject, "suite": "s@1", "probe_id": probe, "repeat": repeat}
    return {**fields, "text": text or "", "outcome": outcome}


def write_case(root, texts, repeats=2):
    """Write a case of two subjects; `texts` is {subject: [[reply or None, ...], ...]}."""
    case = Case(root)
    # In another order than in the file, without the second probe.
    order = ["a-3", "a-1"]
    case.write_json(
        "plan.json",
        {
            "subjects": [
                {"name": name, "role": role, "family": name, "digest": None}
                for name, role in zip(SUBJECTS, ("reference", "suspect"), strict=True)
            ],
            "suites": [{"name": "s", "version": 1, "probes": order}],
            "repeats": repeats,
        },
    )
    folder = case.data / "probes" / "s@1"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(MANIFEST)
    (folder / "items.jsonl").write_text("\n".join(json.dumps(item) for item in ITEMS))
    ref = {"spec": "records:x", "access": "TEXT"}
    case.write_json("subjects.json", {"subjects": [{"name": n, "ref": ref} for n in SUBJECTS]})
    for name in SUBJECTS:
        case.write_json(f"collected/{name}.json", {"missing": {"hidden": "no weights"}})
        rows = [
            record(name, probe, repeat, reply)
            for probe, replies in zip(order, texts[name], strict=True)
            for repeat, reply in enumerate(replies)
        ]
        write_chain(case.records(name, "s@1"), rows)
    return case


FULL = {"ref": [["a", "b"], ["c", "d"]], "sus": [["e", ""], ["g", "h"]]}


def test_probes_come_in_plan_order_with_what_the_suite_says_of_all(tmp_path):
    probes = planned_probes(write_case(tmp_path, FULL))
    assert [probe.id for probe in probes] == ["a-3", "a-1"]
    assert probes[0].answer.choices == ("x", "y")
    assert probes[1].messages[0].content == "one"
    assert [(probe.weight, probe.language) for probe in probes] == [(0.0, "en")] * 2


def test_bare_items_file_has_weight_one_and_no_language(tmp_path):
    case = write_case(tmp_path, FULL)
    (case.data / "probes/s@1/suite.toml").unlink()
    (case.data / "probes/s@1/items.jsonl").rename(case.data / "probes/s@1/mine.jsonl")
    assert [(p.weight, p.language) for p in planned_probes(case)] == [(1.0, None)] * 2


def test_revealed_part_is_read_without_its_salt(tmp_path):
    case = write_case(tmp_path, FULL)
    lines = (case.data / "probes/s@1/items.jsonl").read_text().split("\n")
    (case.data / "probes/s@1/items.jsonl").write_text(lines[0])
    (case.data / "probes/s@1/sealed.jsonl").write_text('{"salt": "00"}\n' + lines[2])
    assert [probe.id for probe in planned_probes(case)] == ["a-3", "a-1"]


def test_changed_items_are_read_again(tmp_path):
    case = write_case(tmp_path, FULL)
    before = planned_probes(case)
    path = case.data / "probes/s@1/items.jsonl"
    path.write_text(path.read_text().replace("three", "seven"))
    after = planned_probes(case)
    assert [probe.messages[0].content for probe in (before[0], after[0])] == ["three", "seven"]
    (case.data / "probes/s@1/suite.toml").unlink()
    assert [probe.weight for probe in planned_probes(case)] == [1.0, 1.0]


def test_planned_probe_that_is_not_in_the_suite_is_named(tmp_path):
    case = write_case(tmp_path, FULL)
    (case.data / "probes/s@1/items.jsonl").write_text(json.dumps(ITEMS[0]))
    with pytest.raises(CaseError, match="lacks probe 'a-3' of suite s@1"):
        planned_probes(case)


def test_pair_holds_the_texts_of_both(tmp_path):
    pair = load_pair(write_case(tmp_path, FULL), "ref", "sus")
    assert tuple(pair.reference.texts) == (("a", "b"), ("c", "d"))
    assert tuple(pair.suspect.texts) == (("e", ""), ("g", "h"))
    assert pair.why["hidden"] == "ref: no weights; sus: no weights"
    with pytest.raises(UndefinedError, match="no weights"):
        pair.require("hidden")


def test_only_probes_that_both_answered_remain(tmp_path):
    case = write_case(tmp_path, {**FULL, "sus": [[None, None], ["g", "h"]]})
    pair = load_pair(case, "ref", "sus")
    assert [probe.id for probe in pair.probes] == ["a-1"]
    assert tuple(pair.reference.texts) == (("c", "d"),)
    assert len(load_outputs(case, "ref").probes) == 2


def test_subject_with_fewer_repeats_keeps_the_most_replies(tmp_path):
    # One repeat keeps two replies; two repeats would keep none.
    case = write_case(tmp_path, {**FULL, "sus": [["e", None], ["g", None]]})
    assert tuple(load_outputs(case, "sus").texts) == (("e",), ("g",))
    pair = load_pair(case, "ref", "sus")
    assert tuple(pair.reference.texts) == (("a", "b"), ("c", "d"))


def test_memory_does_not_grow_with_the_texts(tmp_path):
    peaks = []
    for size in (0, 200_000):
        texts = {name: [["a" * size, "b"], ["c", "d" * size]] for name in SUBJECTS}
        case = write_case(tmp_path / str(size), texts)
        held = []
        peaks.append(peak(lambda held=held, case=case: held.append(load_pair(case, "ref", "sus"))))
        assert held[0].suspect.texts[1] == ("c", "d" * size)
    # Four texts of 200 kB; one at a time is read, as a line, its JSON and its bytes.
    assert peaks[1] - peaks[0] < 4 * 200_000


def test_stored_texts_are_selected_and_keep_halves_of_surrogate_pairs():
    said = ["a", "", "\ud83d", "é", Withheld(), "z"]
    texts = stored_texts(said, 2)
    assert [*texts] == [("a", ""), ("\ud83d", "é"), ("withheld", "z")]
    assert [isinstance(text, Withheld) for text in texts[2]] == [True, False]
    assert [*texts.first(1).take(np.array([2, 0]))] == [("withheld",), ("a",)]
    assert [*texts[1:]] == [texts[1], texts[-1]]
    assert [*stored_texts(["", ""], 1)] == [("",), ("",)]
    assert not stored_texts([], 1)
    with pytest.raises(IndexError):
        texts[3]


def test_subject_without_any_reply_has_no_probe(tmp_path):
    case = write_case(tmp_path, {**FULL, "sus": [[None, None], [None, None]]})
    pair = load_pair(case, "ref", "sus")
    assert pair.probes == ()
    with pytest.raises(UndefinedError, match="no probe was answered by both"):
        pair.require("texts")


def test_positions_are_sorted_and_reindexed_to_the_common_probes(tmp_path):
    case = write_case(tmp_path, {**FULL, "sus": [[None, None], ["g", "h"]]})
    rows = np.zeros(4, dtype=POSITION)
    rows["probe"], rows["token"] = [1, 0, 0, 1], [10, 11, 12, 13]
    path = case.array("agreement", "sus")
    path.parent.mkdir(parents=True)
    np.save(path, rows)
    positions = load_pair(case, "ref", "sus").positions
    assert positions["token"].tolist() == [10, 13]
    assert positions["probe"].tolist() == [0, 0]
    swapped = load_pair(case, "sus", "ref")
    assert swapped.positions is None
    assert swapped.why["positions"] == "positions were collected against ref, not sus"


def test_embeddings_are_shaped_by_probe_and_repeat(tmp_path):
    case = write_case(tmp_path, FULL)
    path = case.array("embeddings", "ref")
    path.parent.mkdir(parents=True)
    np.save(path, np.arange(12, dtype=np.float32).reshape(4, 3))
    found = load_outputs(case, "ref").embeddings
    assert found.shape == (2, 2, 3)
    assert found[1, 0].tolist() == [6, 7, 8]


@pytest.mark.parametrize("change", ["edit", "delete", "swap", "append", "tear"])
def test_changed_records_are_refused(tmp_path, change):
    case = write_case(tmp_path, FULL)
    path = case.records("sus", "s@1")
    lines = path.read_bytes().splitlines(keepends=True)
    lines = {
        "edit": [lines[0].replace(b'"e"', b'"E"'), *lines[1:]],
        "delete": [*lines[:1], *lines[2:]],
        "swap": [lines[1], lines[0], *lines[2:]],
        "append": [*lines, lines[-1]],
        "tear": [*lines[:-1], lines[-1][:-5]],
    }[change]
    path.write_bytes(b"".join(lines))
    with pytest.raises(CaseError, match=r"s@1\.jsonl"):
        read_records(case, "sus")


def test_records_of_another_plan_are_refused(tmp_path):
    case = write_case(tmp_path, FULL)
    rows = [row for _, row in chained_lines(case.records("sus", "s@1"))]
    write_chain(case.records("sus", "s@1"), [*rows[2:], *rows[:2]])
    with pytest.raises(CaseError, match="line 1 is not what the plan asks for"):
        read_records(case, "sus")


def test_records_of_another_subject_are_refused(tmp_path):
    case = write_case(tmp_path, FULL)
    case.records("sus", "s@1").write_bytes(case.records("ref", "s@1").read_bytes())
    with pytest.raises(CaseError, match="not what the plan asks for"):
        read_records(case, "sus")


def test_missing_files_are_named(tmp_path):
    case = write_case(tmp_path, FULL)
    case.records("sus", "s@1").unlink()
    with pytest.raises(CaseError, match=r"s@1\.jsonl is missing"):
        load_pair(case, "ref", "sus")
    with pytest.raises(CaseError, match="'nobody' was not collected; collected: ref, sus"):
        load_outputs(case, "nobody")


def test_array_with_pickled_objects_is_refused(tmp_path):
    case = write_case(tmp_path, FULL)
    path = case.array("hidden", "ref")
    path.parent.mkdir(parents=True)
    np.save(path, np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(CaseError, match="is not an array file"):
        read_array(case, "hidden", "ref")


def test_references_come_back_with_their_access(tmp_path):
    refs = read_refs(write_case(tmp_path, FULL))
    assert refs["ref"].access.name == "TEXT"
    assert refs["ref"].digest is None
