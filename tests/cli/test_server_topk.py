"""Log-probabilities of a given text from a server, beside the same model run here."""

import numpy as np
import pytest
from command_line import auditor

CONTROLS = (
    "tiny:sibling",
    "tiny:zoo/same-data-00",
    "tiny:zoo/same-data-01",
    "tiny:zoo/other-stories-01",
)


def scanned(server, out, *suspects):
    return auditor(
        *("scan", "tiny:teacher", server.spec(), *suspects, "--access", "TOPK"),
        *(word for spec in CONTROLS for word in ("--control", spec)),
        *("--suite", "reasoning", "--suite", "continuations", "--probes", 8),
        *("--max-new-tokens", 12, "--temperature", 0, "--out", out, "--json"),
    )


def row_of(result, measure):
    rows = {row["measure"].partition("@")[0]: row for row in result["measurements"]}
    return rows[measure]


@pytest.mark.parametrize(
    "shows", [{"strings": True}, {"mute": True, "prompt_logprobs": True}], ids=["echo", "vllm"]
)
def test_the_likeliest_tokens_of_a_served_model_are_those_of_the_model(server, tmp_path, shows):
    server.control(**shows)
    done = scanned(server, tmp_path / "case", "tiny:independent")
    assert done.code == 0, done.err
    served, local = done.json["results"]
    assert served["suspect"]["access"] == "TOPK"
    arrays = tmp_path / "case" / "data" / "arrays" / "topk"
    there = np.load(arrays / "tiny-model.npy", allow_pickle=False)
    here = np.load(arrays / "independent.npy", allow_pickle=False)
    np.testing.assert_array_equal(there["probe"], here["probe"])
    assert len(there) > 50
    # Tokens that a string does not show (parts of characters) are left to the tail.
    assert (there["ids"] >= 0).sum(axis=1).min() >= 3
    for ours, theirs in zip(there, here, strict=True):
        known = dict(zip(theirs["ids"].tolist(), theirs["logprobs"].tolist(), strict=True))
        for token, value in zip(ours["ids"].tolist(), ours["logprobs"].tolist(), strict=True):
            assert token < 0 or value == pytest.approx(known[token], abs=1e-3)
        assert ours["tail"] == pytest.approx(1 - np.exp(ours["logprobs"]).sum(), abs=1e-5)
    gap = row_of(served, "divergence-gap")["value"]
    # It lists fewer tokens, and the divergence is the least that the lists allow.
    assert gap == pytest.approx(row_of(local, "divergence-gap")["value"], abs=0.05)


def test_rows_that_stand_one_token_late_are_moved(server, tmp_path):
    # As the server of llama-cpp-python shows models without a start token.
    server.control(strings=True, late=True)
    done = scanned(server, tmp_path / "case", "tiny:independent")
    assert done.code == 0, done.err
    arrays = tmp_path / "case" / "data" / "arrays" / "topk"
    there = np.load(arrays / "tiny-model.npy", allow_pickle=False)
    here = np.load(arrays / "independent.npy", allow_pickle=False)
    shown = there["ids"][:, 0] >= 0
    # The first row is empty, so nothing is known of the second token of the 4 to 8 texts.
    assert 0 < (~shown).sum() < 10
    listed = zip(there["ids"][shown].tolist(), here["ids"][shown].tolist(), strict=True)
    assert all(set(ours) - set(theirs) <= set(range(-20, 0)) for ours, theirs in listed)


def test_a_server_that_scores_no_text_says_so(server, tmp_path):
    server.control(mute=True)
    done = scanned(server, tmp_path / "case")
    assert done.code == 0, done.err
    (served,) = done.json["results"]
    assert served["suspect"]["access"] == "TOPK"
    row = row_of(served, "divergence-gap")
    assert row["value"] is None
    assert "gives no log-probabilities of a text that it is given (echo)" in row["undefined"]
