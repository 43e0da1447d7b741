"""A collection that is killed while a server answers asks for no reply a second time."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import TINY, auditor

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from server_process import model_server

PROBES = 8


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    with model_server(TINY / "independent", tmp_path / "server") as found:
        yield found


def replies(case):
    """Return the replies of the suspect in order, without what is drawn for each case."""
    (path,) = (case / "data").glob("records/v1/*.jsonl")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(lines) == PROBES
    return [(line["probe_id"], line["repeat"], line["text"], line["outcome"]) for line in lines]


def test_replies_that_were_paid_are_kept_through_a_kill(server, tmp_path):
    words = ["compare", server.spec(), "tiny:teacher", "--suite", "instructions"]
    words += ["--probes", str(PROBES), "--max-new-tokens", "3", "--out"]
    assert auditor(*words, tmp_path / "whole").code == 0
    server.control(seconds=0.3)
    command = [sys.executable, "-m", "auditor", *words, str(tmp_path / "case")]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    folder = tmp_path / "case" / "work" / "exchanges"

    def logged() -> bytes:
        return b"".join(path.read_bytes() for path in folder.glob("*.jsonl"))

    while killed.poll() is None and logged().count(b"\n") < 3:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    lines = logged().split(b"\n")[:-1]
    answered = [json.loads(line)["request"]["body"] for line in lines]
    assert 3 <= len(answered) < PROBES
    assert not list((tmp_path / "case/data").glob("records/v1/*.jsonl"))
    server.control()
    assert auditor(*words, tmp_path / "case").code == 0
    asked = [entry["body"] for entry in server.received()]
    assert len(asked) == PROBES - len(answered)
    assert not [body for body in answered if body in asked]
    assert replies(tmp_path / "case") == replies(tmp_path / "whole")
