"""`auditor bench`: the table, the JSON object and the errors."""

import json

import jsonschema
import pytest
from command_line import auditor, failure

from auditor.bench import running
from auditor.bench.catalogue import CASES
from auditor.cli import bench
from auditor.data import data_dir


def test_the_json_object_holds_ceilings_rows_and_bars(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "measured_apart", lambda *request: (None, "not asked"))
    path = tmp_path / "new" / "bench.json"
    done = auditor("bench", "cka", "--small", "--runs", 1, "--threads", 1, "--json", "--out", path)
    assert done.code == 0, done.err
    assert json.loads(path.read_text()) == done.json
    found = done.json
    schema = json.loads((data_dir("reports") / "schema" / "bench-1.json").read_text())
    jsonschema.validate(found, schema)
    assert found["schema"] == "auditor/bench/1"
    assert found["environment"]["threads"] == 1
    assert found["ceilings"]["copy_bytes_per_s"] > 0
    assert found["ceilings"]["gemm_flop_per_s"] > 0
    assert found["ceilings"]["product_flop_per_s"] > 0
    (experiment,) = found["experiments"]
    row = experiment["rows"][0]
    assert (row["name"], row["status"], row["ratio"]) == ("auditor stream", "ok", 1.0)
    assert row["errors"]["cka"] < 1e-6  # float32 products
    assert row["timing"]["runs"] == 1
    assert (row["extra_bytes"], row["memory_reason"]) == (None, "not asked")
    assert (experiment["bars"][0]["met"], experiment["bars"][0]["reason"]) == (None, "--small")


def test_the_table_names_time_memory_error_and_what_is_computed():
    done = auditor("bench", "knn", "--small", "--runs", 1, "--threads", 1)
    assert done.code == 0, done.err
    assert "ceilings: copy" in done.out
    heads = next(line for line in done.out.splitlines() if "worst error" in line)
    for word in ("time", "x ours", "memory", "computes"):
        assert word in heads
    ours = next(line for line in done.out.splitlines() if line.startswith("auditor knn"))
    assert "MiB" in ours
    assert "0.0e+00 share" in ours
    assert "bar not measured (--small)" in done.out


@pytest.mark.parametrize(
    "words", [["cosmology"], ["cka", "--device", "cuda:99"], ["cka", "--threads", "0"]]
)
def test_bad_input_is_exit_2(words):
    assert failure(auditor("bench", "--small", "--json", *words))["message"]


def test_the_command_knows_every_case():
    assert bench.CASES == CASES
