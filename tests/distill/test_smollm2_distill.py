"""The real 135M model as teacher; a few steps, to see that the path holds at its size."""

import json
from pathlib import Path

import pytest
from distill_world import text_documents, write_permission

from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import MissingExtraError
from auditor.models.smollm2 import smollm2_file

pytestmark = pytest.mark.slow
STATUS, MARK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """Return VmRSS or VmHWM in kB."""
    return int(STATUS.read_text().split(f"{field}:")[1].split()[0])


def test_six_layer_shrink_of_smollm2_trains_on_its_logits(tmp_path):
    try:
        smollm2_file()
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    rows = [json.dumps({"text": " ".join(text_documents(12, seed))}) for seed in range(12)]
    (tmp_path / "text.jsonl").write_text("\n".join(rows))
    write_permission(tmp_path / "permission.json", "smollm2")
    recipe = recipe_from(
        {
            "teacher": "smollm2",
            "student": {"shrink": {"layers": 6}},
            "data": {"text": "text.jsonl", "max_length": 128, "holdout_tokens": 512},
            "method": {"kind": "logits"},
            "train": {"steps": 3, "batch_tokens": 512, "lr": 1e-3, "warmup": 1},
            "permission": "permission.json",
        },
        tmp_path,
    )
    expected = forecast(recipe)
    before = resident("VmRSS")
    MARK.write_text("5")  # the peak begins anew: tests before this one had their own
    lineage = distill(recipe, tmp_path / "run")
    assert lineage["student"]["layer_map"] == [0, 6, 12, 17, 23, 29]
    assert lineage["student"]["parameters"] == expected["student"]["parameters"]
    holdout = lineage["results"]["holdout"]
    assert holdout["end"]["kl"] < holdout["start"]["kl"]
    written = MetricsLog(tmp_path / "run" / "metrics.jsonl").rows()
    kinds = [sorted(row)[0] for row in written]
    assert kinds == ["holdout", *["loss"] * 3, "holdout", "null_students"]
    # Student and optimizer 0.8 GB, teacher 0.5 GB, and no [positions, vocabulary] table.
    assert 0 < resident("VmHWM") - before < 2_500_000
