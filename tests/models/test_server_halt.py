"""Requests to a real server that end early: nothing more is sent, and what was sent is recorded."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auditor.errors import ServerError
from auditor.models import parse
from auditor.models.echoes import EchoForm
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_server
from auditor.models.server_access import ServerAccess
from auditor.types import Decoding, Probe

GREEDY = Decoding(temperature=0.0, max_new_tokens=2)
BUSY = {"kind": "status", "status": 503, "headers": {"retry-after": "2"}}
FATAL = {"kind": "status", "status": 401}
HANG = {"kind": "hang"}


def probes(count):
    return [Probe(id=f"p{i}", category="x", text="Once upon") for i in range(count)]


def rows(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


@contextlib.contextmanager
def asking(proxy, log):
    script = Path(__file__).with_name("asking_process.py")
    words = [sys.executable, script, proxy.spec(concurrency=3), log]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fault", [BUSY, HANG], ids=["busy", "hanging"])
def test_an_interrupt_ends_retries_and_what_hangs(proxy, tmp_path, fault, times):
    proxy.control(None, None, *[fault] * 60)
    log = tmp_path / "log.jsonl"
    with asking(proxy, log) as process:
        wait_for(lambda: len(proxy.received()) >= 5)
        time.sleep(0.5)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert process.wait(15) != 0
    # The three under way, or refused and waiting for 2 s, and no other.
    assert len(proxy.received()) == 5
    found = [row.get("status", row.get("error")) for row in rows(log)]
    failed = 503 if fault is BUSY else "RequestStoppedError"
    assert sorted(map(str, found)) == sorted(map(str, [200, 200, failed, failed, failed]))


@pytest.mark.parametrize("way", ["fetch", "sample", "echoes"])
def test_a_refusal_of_all_ends_the_retries_of_others(proxy, tmp_path, way):
    alone = [None] if way == "sample" else []
    proxy.control(*alone, {**BUSY, "headers": {"retry-after": "20"}}, FATAL, *[BUSY] * 9)
    log = tmp_path / "log.jsonl"
    model = open_server(parse(proxy.spec(concurrency=2)), log=ExchangeLog(log))
    start = time.monotonic()
    if way == "echoes":
        model.offered = ServerAccess(echo=EchoForm(k=1))
        steps = model.echoes.of((f"p{i}", f"Once {i}") for i in range(9))
    else:
        steps = getattr(model, way)(probes(9), 1, GREEDY, 0)
    with contextlib.closing(model), pytest.raises(ServerError, match="401"):
        list(steps)
    assert time.monotonic() - start < 6


def test_a_model_can_be_asked_again_after_an_early_end(proxy, connect):
    model = connect(proxy.spec(concurrency=2))
    samples = model.sample(probes(5), 1, GREEDY, 0)
    next(samples)
    samples.close()
    assert len(list(model.sample(probes(5), 1, GREEDY, 0))) == 5
