"""What a server shows beside its own replies, next to the same model run here."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import auditor

sys.path.insert(0, str(Path(__file__).parent.parent / "bundle"))
sys.path.insert(0, str(Path(__file__).parent.parent / "models"))

from replay_world import replay_module
from server_process import model_server

from auditor.case import Case
from auditor.data import data_dir
from auditor.exchanges import body_bytes, read_exchanges
from auditor.models import open_model
from auditor.stored import iterate_records, planned_probes

ZOO = data_dir("probes") / "packs" / "zoo" / "models"
CONTROLS = ("same-data-00", "same-data-01", "same-data-02", "other-stories-01", "other-stories-02")
LOCAL = "same-data-05"
MEASURES = ("first-token-agreement", "first-token-gap", "own-residual-correlation")


def scanned(server, out, *more):
    return auditor(
        *("scan", "tiny:zoo/reference-00", server.spec(), "tiny:zoo/same-data-05"),
        *(word for name in CONTROLS for word in ("--control", f"tiny:zoo/{name}")),
        *("--suite", "reasoning", "--suite", "continuations", "--probes", 12),
        *("--max-new-tokens", 12, "--out", out, "--json", *more),
    )


def row_of(result, measure):
    rows = {row["measure"].partition("@")[0]: row for row in result["measurements"]}
    return rows[measure]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with model_server(ZOO / "same-data-05", tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def scan(server, tmp_path_factory):
    """A case of the model behind a server that scores no text, and of the same model here."""
    out = tmp_path_factory.mktemp("scan") / "case"
    server.control(mute=True)
    done = scanned(server, out)
    assert done.code == 0, done.err
    served, local = done.json["results"]
    return SimpleNamespace(served=served, local=local, case=Case(out))


def array(scan, kind, name):
    rows = np.load(scan.case.array(kind, name), allow_pickle=False)
    return rows[np.argsort(rows["probe"], kind="stable")]


def test_the_first_tokens_of_a_served_model_are_those_of_the_model(scan):
    there, here = array(scan, "answers", "tiny-model"), array(scan, "answers", LOCAL)
    np.testing.assert_array_equal(there["probe"], here["probe"])
    # One row a probe, chats and texts to continue alike.
    assert there["probe"].tolist() == list(range(12))
    kinds = {probe.kind for probe in planned_probes(scan.case)}
    assert kinds == {"chat", "text"}
    for ours, theirs in zip(there, here, strict=True):
        known = dict(zip(theirs["ids"].tolist(), theirs["logprobs"].tolist(), strict=True))
        listed = zip(ours["ids"].tolist(), ours["logprobs"].tolist(), strict=True)
        shown = {token: value for token, value in listed if token >= 0}
        assert len(shown) >= 3
        for token, value in shown.items():
            assert value == pytest.approx(known[token], abs=1e-3)
        assert ours["tail"] == pytest.approx(1 - np.exp(list(shown.values())).sum(), abs=1e-5)
    for measure in MEASURES[:2]:
        ours, theirs = (row_of(result, measure) for result in (scan.served, scan.local))
        assert ours["value"] == pytest.approx(theirs["value"], abs=0.05)
        assert ours["control_values"] == theirs["control_values"]


def test_the_first_token_is_what_follows_the_prompt(scan):
    # Float64 softmax of the model's own forward pass on the prompt of each probe.
    import torch

    model = open_model("tiny:zoo/same-data-05", device="cpu")
    for row, probe in zip(array(scan, "answers", LOCAL), planned_probes(scan.case), strict=True):
        ids = torch.tensor([model.prompt(probe).token_ids])
        with torch.inference_mode():
            logits = model.module(ids).logits[0, -1].double()
        expected = torch.log_softmax(logits, 0).numpy()
        assert row["ids"][0] == int(expected.argmax())
        np.testing.assert_allclose(row["logprobs"], expected[row["ids"]], atol=2e-4)


@pytest.mark.parametrize("name", ["tiny-model", "same-data-05"])
def test_own_probabilities_are_those_of_the_model_on_its_replies(scan, name):
    rows = array(scan, "own", name)
    probes, repeats = planned_probes(scan.case), scan.case.read_json("plan.json")["repeats"]
    texts = [record["text"] for record in iterate_records(scan.case, name)]
    assert len(rows) >= 10
    model = open_model("tiny:zoo/same-data-05", device="cpu")
    exact = 0
    for row in rows:
        text = texts[row["probe"] * repeats + row["repeat"]]
        prompt = model.render(probes[row["probe"]])
        (score,) = model.score([prompt + text])
        scored = score.byte_ends > len(prompt.encode())
        assert row["bytes"] == len(text.encode())
        exact += abs(row["logprob"] - score.logprobs[scored].sum()) < 0.01
    # What was drawn need not be cut as the tokenizer cuts it: some replies have other tokens.
    assert exact == len(rows) if name == LOCAL else exact >= 0.6 * len(rows)


def test_a_control_is_placed_by_what_it_scored_itself(scan):
    # Controls score everybody's replies, their own among them: nothing is scored twice.
    assert not scan.case.array("own", "same-data-00").exists()
    for result in (scan.served, scan.local):
        row = row_of(result, "own-residual-correlation")
        assert row["value"] is not None
        assert None not in row["control_values"]


def test_replay_finds_every_statistic_of_the_served_model(scan):
    replay = replay_module()
    found = replay.replayed(scan.case.root)
    assert [line for line in found["lines"] if line["outcome"] == "differs"] == []
    measured = {str(line["measure"]).partition("@")[0] for line in found["lines"]}
    assert measured >= set(MEASURES)


def test_lists_of_given_texts_give_the_agreement_of_full_distributions(server, tmp_path):
    server.control(strings=True)
    done = scanned(server, tmp_path / "case")
    assert done.code == 0, done.err
    served, local = (row_of(r, "idiosyncratic-agreement") for r in done.json["results"])
    assert served["control_values"] == local["control_values"]
    assert served["value"] == pytest.approx(local["value"], abs=0.05)
    assert served["rank_p"] is not None
    # What needs more than the likeliest token stays undefined.
    assert row_of(done.json["results"][0], "logit-top1")["value"] is None
    lines = replay_module().replayed(tmp_path / "case")["lines"]
    assert [line for line in lines if line["outcome"] == "differs"] == []


def test_a_server_that_shows_text_only_says_so(server, tmp_path):
    server.control(mute=True)
    done = scanned(server, tmp_path / "case", "--access", "TEXT")
    assert done.code == 0, done.err
    for measure in MEASURES:
        row = row_of(done.json["results"][0], measure)
        assert row["value"] is None
        assert row["undefined"]


def test_recorded_replies_tell_what_the_server_told(scan, tmp_path):
    # The same replies with their log-probabilities, as a file that somebody else collected.
    lines = []
    for entry in read_exchanges(scan.case.data / "exchanges" / "tiny-model.jsonl"):
        about = entry["about"]
        if not entry["answered"] or "probe_id" not in about:
            continue
        (choice,) = json.loads(body_bytes(entry))["choices"]
        message = choice.get("message") or {"content": choice["text"]}
        shown = {"text": message["content"], "logprobs": choice["logprobs"]["content"]}
        lines.append({"probe_id": about["probe_id"], "repeat": about["repeat"], **shown})
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = auditor(
        *("scan", "tiny:zoo/reference-00", f"records:{file}"),
        *(word for name in CONTROLS for word in ("--control", f"tiny:zoo/{name}")),
        *("--suite", "reasoning", "--suite", "continuations", "--probes", 12),
        *("--max-new-tokens", 12, "--out", tmp_path / "case", "--json"),
    )
    assert done.code == 0, done.err
    case = SimpleNamespace(case=Case(tmp_path / "case"))
    for kind in ("answers", "own"):
        told, recorded = array(scan, kind, "tiny-model"), array(case, kind, "replies")
        np.testing.assert_array_equal(recorded, told)
    for measure in MEASURES:
        served, recorded = row_of(scan.served, measure), row_of(done.json["results"][0], measure)
        assert recorded["value"] == pytest.approx(served["value"], abs=1e-12)
