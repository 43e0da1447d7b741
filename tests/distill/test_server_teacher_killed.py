"""A run that is killed while its teacher's server answers."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from distill_world import served_values, weights_digest_of
from server_process import ModelServer

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill


def test_a_killed_run_repeats_no_call_that_was_answered(
    tmp_path: Path, server: ModelServer
) -> None:
    values = served_values(tmp_path, server.spec(concurrency=2), prompts=8)
    distill(recipe_from(values, tmp_path), tmp_path / "whole")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(values))
    server.control(seconds=0.3)
    script = Path(__file__).with_name("distill_killer.py")
    killed = subprocess.Popen([sys.executable, script, recipe, tmp_path / "run", "1"])
    log = tmp_path / "run" / "exchanges.jsonl"
    while killed.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") > 2):
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    answered = [json.loads(line) for line in log.read_text().split("\n")[:-1]]
    assert 2 < len(answered) < 8
    server.control()
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    asked = [entry["body"] for entry in server.received()]
    assert len(asked) == 8 - len(answered)
    assert not [row for row in answered if row["request"]["body"] in asked]
    assert weights_digest_of(tmp_path / "run") == weights_digest_of(tmp_path / "whole")
