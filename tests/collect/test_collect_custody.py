"""The log of what happened to a case."""

import json
from datetime import datetime

import pytest

from auditor.canon import leaf_hash
from auditor.case import Case
from auditor.collect.custody import Custody
from auditor.errors import CaseError


def events(case):
    return [json.loads(line) for line in (case.data / "custody.jsonl").read_bytes().splitlines()]


def test_events_are_chained_and_carry_the_time(tmp_path):
    case = Case(tmp_path)
    for name in ("first", "second"):
        with Custody(case) as custody:
            custody.log("opened", name=name)
    lines = (case.data / "custody.jsonl").read_bytes().splitlines()
    assert [event["name"] for event in events(case)] == ["first", "second"]
    assert events(case)[1]["prev"] == leaf_hash(lines[0])
    assert datetime.fromisoformat(events(case)[1]["time"]).utcoffset().total_seconds() == 0


def test_torn_event_is_cut_and_the_cut_is_logged(tmp_path):
    case = Case(tmp_path)
    with Custody(case) as custody:
        custody.log("opened")
    with (case.data / "custody.jsonl").open("ab") as stream:
        stream.write(b'{"event":"to')
    with Custody(case):
        pass
    assert [event["event"] for event in events(case)] == ["opened", "cut"]
    assert events(case)[1]["bytes"] == len(b'{"event":"to')


def test_a_log_whose_first_event_was_torn_begins_with_the_next_one(tmp_path):
    case = Case(tmp_path)
    case.data.mkdir()
    (case.data / "custody.jsonl").write_bytes(b'{"event":"collec')
    with Custody(case) as custody:
        custody.log("collecting")
        custody.log("subject")
    assert [event["event"] for event in events(case)] == ["collecting", "cut", "subject"]
    assert events(case)[1]["bytes"] == len(b'{"event":"collec')


def test_changed_event_is_refused(tmp_path):
    case = Case(tmp_path)
    with Custody(case) as custody:
        custody.log("opened")
        custody.log("closed")
    path = case.data / "custody.jsonl"
    path.write_bytes(path.read_bytes().replace(b"opened", b"OPENED"))
    with pytest.raises(CaseError, match="line 2 does not continue the chain"):
        Custody(case)
