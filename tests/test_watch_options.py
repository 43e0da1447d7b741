"""What a person says about the draws of a watch holds; what is not said differs each time."""

import json
from pathlib import Path
from typing import Any

import pytest

from auditor.cli.main import run
from auditor.enrolment.baseline import Enrolling, enrol
from auditor.models import open_model
from auditor.progress import Silent
from auditor.watching import Watching, watch

SPEC = "tiny:zoo/reference-00"


@pytest.fixture(scope="module")
def baseline() -> dict[str, Any]:
    return enrol(Enrolling(spec=SPEC, candidates=80, cells=8), Silent())


def seed_of(log: Path) -> int:
    return int(json.loads(log.read_bytes().splitlines()[0])["seed"])


def test_watches_without_a_seed_draw_apart(baseline: dict[str, Any], tmp_path: Path) -> None:
    logs = [tmp_path / name for name in ("first.jsonl", "second.jsonl")]
    model = open_model(SPEC)
    for log in logs:
        watch(model, baseline, Watching(queries=1, log=log), Silent())
    model.close()
    # Of 2**30: the same draws again would be no new answers.
    assert len({seed_of(log) for log in logs}) == 2


def test_seed_and_number_type_of_a_watch_are_those_given(
    baseline: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, log = tmp_path / "baseline.json", tmp_path / "watch.jsonl"
    stored.write_text(json.dumps(baseline))
    words = ["watch", SPEC, "--baseline", str(stored), "--queries", "1", "--log", str(log)]
    assert run([*words, "--seed", "12"]) in (0, 3)
    assert seed_of(log) == 12
    assert run([*words, "--dtype", "float3"]) == 2
    assert "float3" in capsys.readouterr().err
