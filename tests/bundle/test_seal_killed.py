"""A seal that is killed at any step leaves a part that is named so, or the whole."""

import random
import subprocess
import sys
from pathlib import Path

import bagit
import pytest
from seal_world import copy_of, files_of

from auditor.bundle.seal import part_of
from auditor.sealing import seal_case

KILLER = Path(__file__).with_name("seal_killer.py")


def assert_killed_seals_are_parts(finished, folder, count):
    draft, target = copy_of(finished, folder / "case"), folder / "case.evidence"
    draws = random.Random(3)
    # The last step is the rename of the folder itself, the first the making of it.
    points = [0.0, 0.999, *(draws.random() for _ in range(count - 2))]
    command = [sys.executable, str(KILLER), str(draft.root), str(target), *map(str, points)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    steps, *outcomes = done.stdout.splitlines()
    assert int(steps) > 50
    assert len(outcomes) == count
    # Killed, no sealed case, and a part: but for before the first step, and for the moment between
    # the removal of the last part and the making of the next.
    # The 0 at the end: verify took none of it.
    assert outcomes[0] == "-9 False False 0"
    assert set(outcomes) == {"-9 False False 0", "-9 False True 0"}
    assert outcomes[1] == "-9 False True 0"
    sealed = seal_case(draft, target)
    assert not part_of(target).exists()
    bagit.Bag(str(target)).validate()
    assert len(sealed.evidence["files"]) + 1 == len(files_of(target / "data"))
    assert files_of(draft.data) == files_of(finished.data)


def test_a_seal_killed_at_random_steps_is_done_again_from_the_draft(finished, tmp_path):
    assert_killed_seals_are_parts(finished, tmp_path, 8)


@pytest.mark.slow
def test_a_seal_killed_at_fifty_random_steps_is_done_again_from_the_draft(finished, tmp_path):
    assert_killed_seals_are_parts(finished, tmp_path, 50)
