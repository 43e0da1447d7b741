"""The sizing page says what follows from its inputs, and the inputs are those of the code."""

import pytest
from sizing import PAGE, gigabytes, hours, inputs, table

from auditor.collect.scoring import SCORE
from auditor.collect.topk import K, topk_dtype
from auditor.outputs import POSITION
from auditor.panel import CROSSING


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_table_follows_from_the_inputs(page):
    assert table(inputs(page)) in page


def test_bytes_of_a_position_are_those_of_the_arrays(page):
    given = inputs(page)
    assert given["agreement_bytes"] == POSITION.itemsize
    assert given["topk_bytes"] == topk_dtype(K).itemsize
    assert given["score_bytes"] == SCORE.itemsize
    assert given["crossing_bytes"] == CROSSING.itemsize


def test_one_model_of_round_numbers_by_hand():
    given = {
        "suspects": 0,
        "controls": 0,
        "probes": 3600,
        "parameters": 1e9,
        "prompt_tokens": 50,
        "reply_tokens": 50,
        "batch_tokens": 1000,
        "step_s": 0.1,
        "peak_flop_per_s": 1e13,
        "utilisation": 0.5,
        "disk_bytes_per_s": 1e9,
        "width": 1000,
        "embedding_width": 250,
        "record_bytes": 900,
        "record_bytes_per_token": 1,
        "agreement_bytes": 10,
        "topk_bytes": 10,
        "score_bytes": 5,
        "crossing_bytes": 100,
    }
    # 3600 x 50 tokens of prompts at 2e9 / 5e12 s: 72 s. 10 at once: 360 x 50 steps: 1800 s.
    # Read: 144 s. Crossed: 72 s. Loaded 3 times 2e9 bytes: 6 s.
    found = list(hours(given).values())
    assert found == pytest.approx([1872 / 3600, 144 / 3600, 72 / 3600, 6 / 3600])
    # 3600 x: 1000; 50 x 25; 4 x 1000; 4 x 250; 100.
    sizes = [3.6e-6 * each for each in (1000, 1250, 4000, 1000, 100)]
    assert list(gigabytes(given).values()) == pytest.approx(sizes)
