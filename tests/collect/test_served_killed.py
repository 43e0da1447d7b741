"""The server or the collection killed in mid-run: continued, no call lost, none asked twice."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from proxy_process import fault_proxy
from served_world import attempts, collect, errors, records, served_plan
from server_process import RestartedServer

from auditor.collect.forecast import forecast
from auditor.collect.servers import ServerTerms
from auditor.errors import BudgetError, ServerError
from auditor.exchanges import exchange_path
from auditor.models import parse
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_audited
from auditor.models.server_budget import Budget, Limits
from auditor.types import Access, Decoding, Probe


@pytest.fixture
def restarted(models, tmp_path):
    server = RestartedServer(models.other, tmp_path)
    server.start()
    yield server
    server.kill()


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def assert_nothing_lost_or_doubled(case, proxy):
    assert {row["outcome"] for row in records(case)} <= {"ok", "empty"}
    assert len(records(case)) == 12
    assert len(proxy.answered()) == len(set(proxy.answered())) == 14
    answered = [json.dumps(row["request"]["body"]) for row in attempts(case) if row["answered"]]
    wanted = {json.dumps(json.loads(body), sort_keys=True) for body in proxy.answered()}
    found = {json.dumps(json.loads(body), sort_keys=True) for body in answered}
    assert len(answered) == 14
    assert found == wanted


def test_a_server_that_comes_back_is_asked_the_rest_in_the_same_run(restarted, models, tmp_path):
    with fault_proxy(f"http://127.0.0.1:{restarted.port}", "tiny-model", tmp_path) as proxy:
        proxy.control(seconds=0.2)

        def crash():
            wait_for(lambda: len(proxy.answered()) >= 6)
            restarted.kill()
            time.sleep(1.5)
            restarted.start()

        thread = threading.Thread(target=crash)
        thread.start()
        plan = served_plan(models.reference, proxy.spec())
        case = collect(tmp_path / "case", plan, proxy.spec(concurrency=2))
        thread.join()
        assert_nothing_lost_or_doubled(case, proxy)
    assert {row["error"] for row in errors(case)} == {"answered 502"}


@pytest.mark.slow  # waits for all attempts
def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(restarted, models, tmp_path):
    with fault_proxy(f"http://127.0.0.1:{restarted.port}", "tiny-model", tmp_path) as proxy:
        plan, spec = served_plan(models.reference, proxy.spec()), proxy.spec(concurrency=2)
        proxy.control(seconds=0.2)
        thread = threading.Thread(
            target=lambda: (wait_for(lambda: len(proxy.answered()) >= 6), restarted.kill())
        )
        thread.start()
        with pytest.raises(ServerError, match="502") as caught:
            collect(tmp_path / "case", plan, spec)
        thread.join()
        assert "repeat the command later to go on" in caught.value.hint
        assert len(proxy.answered()) < 14
        restarted.start()
        case = collect(tmp_path / "case", plan, spec)
        assert_nothing_lost_or_doubled(case, proxy)


def test_a_killed_collection_asks_again_what_was_under_way_alone(proxy, models, tmp_path):
    plan, spec = served_plan(models.reference, proxy.spec()), proxy.spec(concurrency=2)
    proxy.control(seconds=0.3)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    script = Path(__file__).with_name("served_collector.py")
    words = [sys.executable, script, tmp_path / "case", path, spec]
    process = subprocess.Popen(words)
    wait_for(lambda: len(proxy.answered()) >= 7 or process.poll() is not None)
    process.kill()
    process.wait()
    log = exchange_path(_case(tmp_path), "suspect")
    kept = [line for line in log.read_bytes().splitlines(True) if line.endswith(b"\n")]
    assert 5 <= len(kept) < 14
    case = collect(tmp_path / "case", plan, spec)
    assert log.read_bytes().startswith(b"".join(kept))
    assert len(records(case)) == 12
    # Answered, but not yet on record when the kill came: one for each request under way.
    assert 14 <= len(proxy.answered()) <= 16
    assert len(set(proxy.answered())) == 14


def test_half_a_line_that_a_kill_left_is_no_line(proxy, models, tmp_path):
    plan, root = served_plan(models.reference, proxy.spec()), tmp_path / "case"
    with pytest.raises(BudgetError):
        collect(root, plan, requests=5)
    log = exchange_path(_case(tmp_path), "suspect")
    kept = log.read_bytes()
    torn = kept + kept[:50]
    log.write_bytes(torn)
    found = forecast(plan, root, ServerTerms())
    # 5 of 14 were sent: 2 for the access and 3 replies of 12.
    assert (found["spent"]["requests"], found["total"]["requests"]) == (5, 9)
    assert log.read_bytes() == torn
    case = collect(root, plan)
    assert log.read_bytes().startswith(kept)
    assert len(attempts(case)) == 14
    assert_nothing_lost_or_doubled(case, proxy)


def _case(root):
    from auditor.case import Case

    return Case(root / "case")


def test_as_many_requests_are_under_way_as_allowed(proxy, tmp_path):
    probes = [Probe(id=str(i), category="x", text="One") for i in range(60)]
    decoding = Decoding(temperature=0.0, max_new_tokens=1)
    log = ExchangeLog(tmp_path / "log.jsonl")
    spec, budget = parse(proxy.spec(concurrency=6)), Budget(Limits())
    model = open_audited(spec, log=log, kinds={"text"}, most=Access.TEXT, budget=budget)
    with contextlib.closing(model):
        proxy.control(seconds=1.0)
        assert sum(model.fetch(probes, 1, decoding, 0)) == 60
    # All of the time, with the start and the end in it.
    assert proxy.state()["mean_under_way"] >= 0.9 * 6
