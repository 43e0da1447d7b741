"""A case whose collection, measuring or judging was killed at any moment goes on, or is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from seal_world import REQUEST

from auditor.plan import ControlSpec, plan_audit
from auditor.types import Access

KILLER = Path(__file__).with_name("case_killer.py")


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory):
    """Return a plan with scores, weights, embeddings, crossing, and a subject with failures."""
    folder = tmp_path_factory.mktemp("plan")
    request = replace(REQUEST, access=Access.WEIGHTS, encoder="all-MiniLM-L6-v2", batch_tokens=60)
    probes = [probe for suite in plan_audit(request)["suites"] for probe in suite["probes"]]
    recorded = folder / "recorded.jsonl"
    rows = [
        {"probe_id": probe, "repeat": repeat, "text": f"reply {repeat} to {probe}"}
        for probe in probes[1:]
        for repeat in range(REQUEST.repeats)
    ]
    recorded.write_text("".join(json.dumps(row) + "\n" for row in rows))
    controls = (*REQUEST.controls, ControlSpec(spec=f"records:{recorded}"))
    path = folder / "plan.json"
    path.write_text(json.dumps(plan_audit(replace(request, controls=controls))))
    return path


def assert_killed_cases_go_on(plan_file, folder, stage, count):
    """Kill `count` cases; return the killed children's number."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(KILLER), str(plan_file), str(folder), stage, str(count), "5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, *cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert whole["codes"] == [0]
    assert whole["level"] == ["L1", []]
    assert len(cases) == count
    for case in cases:
        assert case["codes"][-1] == 0, case
        assert set(case["codes"]) <= {0, -9}, case
        # No line that was there is gone; neither seal nor verify took what was not whole; the
        # finished case has the bytes of one that nobody killed, and its log says the same.
        assert (case["lost"], case["taken"], case["other"]) == ([], [], []), case
        assert case["logged"], case
        assert case.get("level", ["L1", []]) == ["L1", []], case
    return sum(case["codes"].count(-9) for case in cases)


@pytest.mark.timeout(600)
def test_a_collection_killed_where_it_once_lost_something_loses_nothing(plan_file, tmp_path):
    assert assert_killed_cases_go_on(plan_file, tmp_path, "collect", 2) >= 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_collection_killed_at_fifty_random_moments_loses_nothing(plan_file, tmp_path):
    # By the clock, a machine that was slower the first time may end before it is killed.
    assert assert_killed_cases_go_on(plan_file, tmp_path, "collect", 50) >= 45


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["measure", "judge"])
def test_measuring_and_judging_can_be_killed(plan_file, tmp_path, stage):
    assert assert_killed_cases_go_on(plan_file, tmp_path, stage, 6) >= 5
