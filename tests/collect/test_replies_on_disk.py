"""The texts of the replies lie on the disk: memory does not grow with them."""

import tracemalloc

import pytest
from collect_world import plan_of

from auditor.canon import canonical_json, leaf_hash
from auditor.case import Case
from auditor.collect.embedding import distinct_texts
from auditor.collect.replies import read_replies
from auditor.collect.suite import copy_suite

SAID = [["one", "two"], ["two", "two"], ["", "three"]]
"""What each subject replies to every probe; the empty one is no reply."""


def written(case: Case, plan: dict, said: list[list[str]], more: str = "") -> Case:
    """Write the records of a plan's subjects, as far as the reader looks at them."""
    case.write_json("plan.json", plan)
    for suite in plan["suites"]:
        name = f"{suite['name']}@{suite['version']}"
        copy_suite(name, case.data / "probes" / name)
        for subject, texts in zip(plan["subjects"], said, strict=True):
            path, previous, lines = case.records(subject["name"], name), "", []
            for probe in suite["probes"]:
                for repeat, text in enumerate(texts):
                    row = {"probe_id": probe, "repeat": repeat, "subject": subject["name"]}
                    row |= {"text": text and text + more, "outcome": "ok" if text else "empty"}
                    line = canonical_json({**row, "seq": len(lines), "prev": previous})
                    lines.append(line + b"\n")
                    previous = leaf_hash(line)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(lines))
    return case


@pytest.fixture
def plan(models):
    return plan_of(dict.fromkeys("abc", models.reference), probes=6)


def test_different_replies_are_counted_and_read_in_order_of_appearance(plan, tmp_path):
    replies = read_replies(written(Case(tmp_path), plan, SAID))
    assert replies.said[:, 0].tolist() == [[0, 1], [1, 1], [-1, 2]]
    assert [replies.texts(probe) for probe in range(6)] == [("one", "two", "three")] * 6
    assert replies.counts == (3,) * 6
    assert replies.starts == (0, 3, 6, 9, 12, 15)
    assert not [path for path in (tmp_path / "work").iterdir() if path.is_file()]


def test_each_different_text_is_met_once_and_every_record_knows_it(plan, tmp_path):
    found = distinct_texts(written(Case(tmp_path), plan, SAID), "abc")
    assert (len(found), found.texts(0, 9)) == (4, ["one", "two", "", "three"])
    assert {name: rows[:4].tolist() for name, rows in found.rows.items()} == {
        "a": [0, 1, 0, 1],
        "b": [1, 1, 1, 1],
        "c": [2, 3, 2, 3],
    }
    assert all(rows.shape == (12,) for rows in found.rows.values())


@pytest.mark.parametrize(
    ("read", "count", "different"),
    [
        (read_replies, lambda replies: replies.total, 18),  # three for each of six probes
        (lambda case: distinct_texts(case, "abc"), len, 4),  # one, two, three and the empty one
    ],
)
def test_memory_does_not_grow_with_the_texts(plan, tmp_path, read, count, different):
    peaks = []
    for size in (0, 20_000):
        case = written(Case(tmp_path / str(size)), plan, SAID, more="é" * size)
        tracemalloc.start()
        replies = read(case)
        peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert count(replies) == different
    # 18 texts of 40 kB are 720 kB, the three different ones 120 kB.
    assert peaks[1] - peaks[0] < 100_000
