"""V09 where a plan was amended: only suspects that had failed may be other models now."""

from types import SimpleNamespace

import pytest

from auditor.bundle import check_plan
from auditor.canon import json_digest


def plan(*digests):
    roles = ("reference", "suspect", "suspect", "independent")
    subjects = [
        {"name": f"m{i}", "role": role, "family": f"m{i}", "spec": f"local:/m{i}", "digest": digest}
        for i, (role, digest) in enumerate(zip(roles, digests, strict=True))
    ]
    return {"command": "scan", "subjects": subjects}


OLD, NEW = plan("a", "b", None, "d"), plan("a", "b", "c", "d")


def collecting(content):
    return {"event": "collecting", "plan": json_digest(content)}


def amended(content, *replaced):
    return {"event": "plan amended", "plan": json_digest(content), "replaced": list(replaced)}


FAILED = {"event": "failed", "name": "m2"}
CHANGE = amended(NEW, OLD["subjects"][2])


def faults(monkeypatch, *events):
    monkeypatch.setattr(check_plan, "custody_events", lambda case: list(events))
    return list(check_plan._custody_faults(SimpleNamespace(), NEW))


def test_the_plan_of_every_event_is_had_from_the_last_one(monkeypatch):
    events = (collecting(OLD), FAILED, CHANGE, collecting(NEW))
    assert faults(monkeypatch, *events) == []
    # A kill between the event and the file: the change is logged once more.
    assert faults(monkeypatch, *events[:3], *events[2:]) == []


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ((collecting(OLD), FAILED, collecting(NEW)), "not the plan at the event 'collecting'"),
        ((collecting(OLD), CHANGE, collecting(NEW)), "no suspect that had failed"),
        (
            (
                collecting(plan("a", "x", "c", "d")),
                FAILED,
                amended(NEW, {**NEW["subjects"][1], "digest": "x"}),
            ),
            "amended at m1",
        ),
        (
            (
                collecting(plan("a", "b", "c", "x")),
                {"event": "failed", "name": "m3"},
                amended(NEW, {**NEW["subjects"][3], "digest": "x"}),
            ),
            "amended at m3",
        ),
    ],
)
def test_any_other_change_is_a_fault(monkeypatch, events, fault):
    found = faults(monkeypatch, *events)
    assert len(found) == 1
    assert fault in found[0]
