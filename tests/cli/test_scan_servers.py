"""A suspect of a scan whose server does not answer: named with the reason, and the others go on."""

import json
import socket
import threading
import time

import pytest
from command_line import TINY, auditor, failure
from server_process import ModelServer, RestartedServer, model_server

from auditor.case import Case
from auditor.exchanges import read_exchanges

SHORT = ("--suite", "instructions", "--probes", 6, "--max-new-tokens", 4, "--access", "text")
GOOD = "tiny:independent"


def nobody():
    """Return the specifier of a model at an address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"openai:absent?base_url=http://127.0.0.1:{free.getsockname()[1]}/v1"


def scanned(out, *suspects, words=()):
    return auditor("scan", "tiny:teacher", *suspects, *SHORT, "--out", out, "--json", *words)


def specs(done):
    return [one["suspect"]["spec"].partition("?")[0] for one in done.json["results"]]


def answered(case):
    (log,) = (case.data / "exchanges").glob("tiny-model*.jsonl")
    return [e["request_digest"] for e in read_exchanges(log) if e["answered"]]


@pytest.fixture
def mortal(tmp_path):
    """A server that can be killed."""
    running = RestartedServer(TINY / "sibling", tmp_path)
    running.start()
    yield running
    running.kill()


def dying(mortal, out, *suspects, words=()):
    """Scan with a server that is killed after some replies."""
    control = ModelServer(mortal.port, "tiny-model")
    control.control(seconds=0.5, mute=True)

    def kill():
        end = time.monotonic() + 200
        log = None
        while time.monotonic() < end:
            log = next(iter(out.glob("data/exchanges/tiny-model*.jsonl")), None)
            if log is not None and log.read_bytes().count(b'"probe_id"') >= 2:
                break
            time.sleep(0.02)
        mortal.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return scanned(out, control.spec(concurrency=1), *suspects, words=words)
    finally:
        killer.join()


def test_a_server_that_nobody_serves_costs_no_other_its_findings(tmp_path):
    absent = nobody()
    done = scanned(tmp_path / "case", absent, GOOD)
    assert done.code == 0, done.err
    assert specs(done) == [GOOD]
    (row,) = done.json["failed"]
    assert row["spec"] == absent
    assert "gave no reply: ConnectError" in row["error"]
    assert "check base_url" in row["hint"]
    page = (tmp_path / "case" / "data" / "report.html").read_text()
    assert "gave no reply: ConnectError" in page
    one = next((tmp_path / "case" / "data").glob("report-independent.html")).read_text()
    assert f"{row['name']} could not be asked to the end" in one


def test_a_gate_does_not_pass_who_did_not_answer_and_people_read_why(tmp_path):
    words = ("--fail-on", "text-chrf > 2")
    assert scanned(tmp_path / "case", nobody(), GOOD, words=words).code == 4
    out = tmp_path / "case"
    shown = auditor("scan", "tiny:teacher", nobody(), GOOD, *SHORT, "--out", out.with_name("two"))
    assert shown.code == 0, shown.err
    assert "could not be asked to the end: http://127.0.0.1" in shown.out
    assert "remedy: check base_url" in shown.out


def test_a_server_that_goes_on_failing_is_put_down_after_all_attempts(tmp_path):
    with model_server(TINY / "sibling", tmp_path) as running:
        running.control(*[{"status": 500}] * 200)
        done = scanned(tmp_path / "case", running.spec(), GOOD)
    assert done.code == 0, done.err
    assert specs(done) == [GOOD]
    assert "answered 500" in done.json["failed"][0]["error"]


def test_one_that_dies_in_the_middle_is_asked_the_rest_later(mortal, tmp_path):
    out = tmp_path / "case"
    first = dying(mortal, out, GOOD)
    assert first.code == 0, first.err
    assert specs(first) == [GOOD]
    assert "gave no reply" in first.json["failed"][0]["error"]
    case = Case(out)
    before = answered(case)
    assert before  # it had answered, and what it said is kept
    assert [row["name"] for row in case.read_json("subjects.json")["subjects"]] == [
        "teacher",
        "independent",
    ]
    mortal.start()
    control = ModelServer(mortal.port, "tiny-model")
    control.control(mute=True)
    again = scanned(out, control.spec(), GOOD)
    assert again.code == 0, again.err
    assert "failed" not in again.json
    after = answered(case)
    assert after[: len(before)] == before
    assert len(after) == len(set(after))  # nothing that was answered was asked again
    whole = scanned(tmp_path / "whole", control.spec(), GOOD)
    assert whole.code == 0, whole.err
    ours, theirs = (root / "data" / "statistics.json" for root in (out, tmp_path / "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("later", [False, True])
def test_sealed_it_verifies_and_replays(mortal, tmp_path, later):
    out = tmp_path / "case"
    assert dying(mortal, out, GOOD).code == 0
    if later:
        mortal.start()
        control = ModelServer(mortal.port, "tiny-model")
        control.control(mute=True)
        assert scanned(out, control.spec(), GOOD).code == 0
    keys, sealed = tmp_path / "keys", tmp_path / "case.evidence"
    assert auditor("keys", "new", "--out", keys).code == 0
    done = auditor("seal", out, "--key", keys / "auditor.key.pem", "--out", sealed)
    assert done.code == 0, done.err
    public = ("--key", keys / "auditor.pub.pem")
    done = auditor("verify", sealed, *public, "--replay", "--json")
    assert done.code == 0, done.out
    events = [
        json.loads(line)["event"]
        for line in (sealed / "data" / "custody.jsonl").read_text().splitlines()
    ]
    assert "failed" in events


def test_a_control_that_does_not_answer_still_ends_the_scan(tmp_path):
    words = ("--control", nobody())
    error = failure(scanned(tmp_path / "case", GOOD, words=words))
    assert "gave no reply" in error["message"]


def test_where_no_server_answers_it_is_an_error_with_the_remedy(tmp_path):
    error = failure(scanned(tmp_path / "case", nobody()))
    assert "none of 1 suspects can be loaded or asked" in error["message"]
    assert "check base_url" in error["hint"]
