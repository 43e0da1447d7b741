"""Faults between the collection and a real server: every one on record, none silently absorbed."""

import time

import pytest
from served_world import attempts, collect, errors, records, served_plan, server_facts

from auditor.errors import ServerError
from auditor.measuring import measure_case

# The first two requests ask for the access. A wait of the server's own is short.
FAULTS = {
    "429": {"kind": "status", "status": 429, "headers": {"retry-after": "0.3"}},
    "500": {"kind": "status", "status": 500, "headers": {}},
    "500 with a reply": {"kind": "status", "status": 500, "headers": {}, "whole": True},
    "cut": {"kind": "cut"},
    "malformed": {"kind": "malformed"},
    "empty": {"kind": "empty"},
}
WORDS = {
    "429": "answered 429",
    "500": "answered 500",
    "500 with a reply": "answered 500",
    "cut": "RemoteProtocolError",
    "malformed": "answered 200, but no reply",
    "empty": "answered 200, but no reply",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_recorded_and_its_reply_had(proxy, models, tmp_path, name):
    proxy.control(None, None, None, FAULTS[name])
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    assert {row["outcome"] for row in records(case)} <= {"ok", "empty"}
    (failed,) = [row for row in attempts(case) if not row["answered"]]
    (listed,) = errors(case)
    number = attempts(case).index(failed) + 1
    assert (listed["error"], listed["exchange"], listed["attempt"]) == (WORDS[name], number, 1)
    (again,) = [row for row in records(case) if row["attempt"] == 2]
    assert (again["probe_id"], again["repeat"]) == (listed["probe_id"], listed["repeat"])
    assert server_facts(case)["failed"] == {WORDS[name]: 1}
    assert "1 of 15 attempts" in server_facts(case)["limits"][0]


def test_a_slow_body_is_waited_for(proxy, models, tmp_path):
    proxy.control(None, None, {"kind": "slow", "seconds": 1.5})
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    assert errors(case) == []
    assert max(row["seconds"] for row in attempts(case)) >= 1.5


def test_while_the_server_asks_for_time_no_thread_asks(proxy, models, tmp_path):
    limit = {"retry-after": "1.5"}
    proxy.control(None, None, {"kind": "status", "status": 429, "headers": limit})
    plan = served_plan(models.reference, proxy.spec())
    case = collect(tmp_path, plan, proxy.spec(concurrency=1))
    (failed,) = [row for row in attempts(case) if not row["answered"]]
    after = [row for row in attempts(case) if row["sent"] > failed["sent"]]
    refused = _seconds(failed["sent"]) + failed["seconds"]
    assert len(after) == 12
    assert min(_seconds(row["sent"]) for row in after) - refused >= 1.4


def test_a_used_up_limit_is_waited_out_before_it_is_passed(proxy, models, tmp_path):
    used_up = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s200ms"}
    proxy.control(None, {"kind": "slow", "seconds": 0, "headers": used_up})
    plan = served_plan(models.reference, proxy.spec())
    start = time.monotonic()
    case = collect(tmp_path, plan, proxy.spec(concurrency=1))
    assert time.monotonic() - start >= 1.2
    second, third = attempts(case)[1:3]
    assert second["headers"]["x-ratelimit-remaining-requests"] == "0"
    assert _seconds(third["sent"]) - _seconds(second["sent"]) - second["seconds"] >= 1.1


def test_another_model_name_is_recorded_and_named(proxy, models, tmp_path):
    proxy.control(model="another-model")
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    assert {row["exchange"]["model"] for row in records(case)} == {"another-model"}
    (limit,) = server_facts(case)["limits"]
    assert "asked for the model tiny-model and named another" in limit
    assert "another-model (14 replies)" in limit


@pytest.mark.parametrize(
    ("field", "shown"),
    [(["m"], '["m"]'), ({}, "{}"), (float("nan"), "NaN"), ("\ud800", "\ufffd")],
    ids=["list", "object", "nan", "half"],
)
def test_fields_of_any_form_stop_no_audit(proxy, models, tmp_path, field, shown):
    counts = {"prompt_tokens": 2**60, "completion_tokens": 3}
    proxy.control(model=field, fingerprint=field, usage=counts)
    plan = served_plan(models.reference, proxy.spec())
    case = collect(tmp_path, plan)
    facts = server_facts(case)
    assert [row["value"] for row in (*facts["models"], *facts["fingerprints"])] == [shown] * 2
    assert facts["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "unreported": 14}
    assert f"named another in its replies: {shown} (14 replies)" in facts["limits"][0]
    assert len(records(case)) == 12
    assert {row["usage"]["completion_tokens"] for row in records(case)} == {None}


def test_a_fingerprint_that_changes_in_mid_run_is_a_limit_of_the_conclusion(
    proxy, models, tmp_path
):
    from auditor.audit import judge_case

    proxy.control(fingerprint="fp_second", after=8)
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()), proxy.spec(concurrency=1))
    facts = server_facts(case)
    found = [(row["value"], row["replies"]) for row in facts["fingerprints"]]
    assert found == [("fp_first", 8), ("fp_second", 6)]
    assert facts["changes"] == {"fingerprints": 1, "models": 0}
    measure_case(case, _silent())
    judge_case(case)
    limits = case.read_json("conclusion.json")["suspects"]["suspect"]["limits"]
    assert any("system fingerprint 1 times" in limit for limit in limits)


def test_a_server_that_goes_on_failing_ends_the_run_and_is_asked_the_rest_later(
    proxy, models, tmp_path
):
    plan = served_plan(models.reference, proxy.spec())
    spec = proxy.spec(concurrency=1)
    too_long = {"kind": "status", "status": 429, "headers": {"retry-after": "3600"}}
    proxy.control(None, None, None, None, None, too_long)
    with pytest.raises(ServerError, match="429") as caught:
        collect(tmp_path, plan, spec)
    assert "repeat the command later" in caught.value.hint
    assert len(proxy.received()) == 6
    case = collect(tmp_path, plan, spec)
    assert len(proxy.received()) == 15
    assert len(proxy.answered()) == len(set(proxy.answered())) == 14
    assert [row["error"] for row in errors(case)] == ["answered 429"]


def _seconds(iso: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(iso).timestamp()


def _silent():
    from auditor.progress import Silent

    return Silent()
