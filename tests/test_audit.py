"""One audit from the command to the report, on the shipped tiny models."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.audit import audit, judge_case
from auditor.canon import directory_digests
from auditor.measuring import measure_case
from auditor.outputs import POSITION
from auditor.pairing import load_pair
from auditor.plan import AuditRequest, ControlSpec, parse_control, plan_audit
from auditor.progress import Silent
from auditor.stored import read_records
from auditor.types import Decoding

REQUEST = AuditRequest(
    command="scan",
    reference="tiny:teacher",
    suspects=("tiny:teacher", "tiny:independent"),
    controls=(ControlSpec(spec="tiny:sibling"),),
    suites=("instructions", "ood"),
    probes=16,
    decoding=Decoding(max_new_tokens=12),
    batch_tokens=512,
)
COMMAND = (
    "scan tiny:teacher tiny:teacher tiny:independent --control tiny:sibling --suite instructions "
    "--suite ood --probes 16 --max-new-tokens 12 --batch-tokens 512 --json --out"
).split()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return audit(REQUEST, tmp_path_factory.mktemp("audit") / "case")


def values(case, suspect):
    rows = case.read_json("statistics.json")["suspects"][suspect]
    return {row["measure"].partition("@")[0]: row for row in rows}


def test_a_model_compared_with_itself_has_divergence_exactly_zero(case):
    itself = values(case, "teacher-2")
    for name in ("logit-kl-forward", "logit-kl-reverse", "logit-js", "logit-tv"):
        assert itself[name]["value"] == 0.0
        assert itself[name]["interval"] == [0.0, 0.0]
    assert itself["logit-top1"]["value"] == 1.0
    assert itself["text-chrf"]["value"] == 1.0


def test_an_independent_model_is_further_than_the_sibling(case):
    row = values(case, "independent")["logit-kl-forward"]
    assert row["control_values"][0] < row["value"]
    # One control family: the rank p-value is 1/2 or 1.
    assert row["rank_p"] == 1.0
    assert row["z"] is None


def test_controls_without_calibration_stay_inconclusive(case):
    conclusion = case.read_json("conclusion.json")["suspects"]["independent"]
    assert conclusion["reading"] == "inconclusive"
    assert conclusion["log10_lr"] is None
    assert any("1/2" in limit for limit in conclusion["limits"])


def test_measuring_and_judging_again_gives_the_same_bytes(case):
    before = directory_digests(case.data)
    measure_case(case, Silent())
    judge_case(case)
    assert directory_digests(case.data) == before


def test_the_stored_positions_are_those_of_the_replies(case):
    pair = load_pair(case, "teacher", "independent")
    assert pair.positions.dtype == POSITION
    assert set(pair.positions["probe"].tolist()) <= set(range(16))
    assert (pair.positions["kl_ab"] >= 0).all()


def test_there_is_a_report_for_each_suspect_and_an_overview(case):
    names = {path.name for path in case.data.glob("report*.html")}
    assert names == {"report.html", "report-teacher-2.html", "report-independent.html"}


def results(root: Path) -> dict[str, str]:
    """Return the digests of everything a case holds but wall-clock times."""
    return {
        name: value
        for name, value in directory_digests(root / "data").items()
        if name != "custody.jsonl"
    }


def test_killed_at_random_moments_and_repeated_it_gives_the_same_bytes(case, tmp_path):
    out = tmp_path / "case"
    command = [sys.executable, "-m", "auditor", *COMMAND, str(out)]
    moments = random.Random(7)
    killed = 0
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (out / "data" / "records").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True)
    assert killed >= 2
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["results"]) == 2
    assert results(out) == results(case.root)


def test_roles_are_read_from_the_end_of_a_control():
    assert parse_control("tiny:sibling").role == "independent"
    assert parse_control("tiny:sibling=sibling") == ControlSpec(spec="tiny:sibling", role="sibling")
    assert parse_control("openai:m?base_url=http://localhost/v1").spec.endswith("/v1")
    assert parse_control("tiny:a?device_map=auto").spec == "tiny:a?device_map=auto"
    spread = parse_control("tiny:a?device_map=auto=sibling")
    assert spread == ControlSpec(spec="tiny:a?device_map=auto", role="sibling")


def test_the_plan_names_every_subject_once_and_is_repeatable():
    plan = plan_audit(REQUEST)
    names = [subject["name"] for subject in plan["subjects"]]
    assert names == ["teacher", "teacher-2", "independent", "sibling"]
    assert plan == plan_audit(REQUEST)
    assert sum(len(suite["probes"]) for suite in plan["suites"]) == 16


def test_recorded_outputs_give_the_same_text_measures_and_reasons_for_the_rest(case, tmp_path):
    lines = [
        {"probe_id": record["probe_id"], "text": record["text"]}
        for record in read_records(case, "independent")
    ]
    recorded = tmp_path / "suspect.jsonl"
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines))
    request = replace(REQUEST, command="compare", suspects=(str(recorded),), controls=())
    found = values(audit(request, tmp_path / "case"), "suspect")
    wanted = values(case, "independent")
    for name in ("text-chrf", "text-ngram-overlap", "embedding-cosine"):
        assert found[name]["value"] == pytest.approx(wanted[name]["value"], rel=1e-6)
    assert found["logit-kl-forward"]["value"] is None
    assert "TEXT" in found["logit-kl-forward"]["undefined"]
