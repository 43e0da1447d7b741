"""Replay (V12): every statistic and the conclusion, recomputed by the program that ships."""

import subprocess
import sys
from pathlib import Path

from auditor.bundle.check import Check, judged, skipped
from auditor.canon import file_digest
from auditor.case import Case
from auditor.data import data_dir

_SECONDS = 600
_SHOWN = 20


def shipped_replay() -> Path:
    """Return the replay.py of this release: the one that is run, never the case's own."""
    return data_dir("reports") / "replay" / "replay.py"


def check_replay(case: Case, *, wanted: bool) -> Check:
    """V12: our replay.py agrees within the tolerances; the case's copy is compared, not run.

    Args:
        case: sealed.
        wanted: whether to recompute; otherwise only the copy is compared.
    """
    shipped, copy = shipped_replay(), case.data / "replay.py"
    if not shipped.is_file():
        return skipped("V12", "this release ships no replay.py")
    notes = [] if copy.is_file() else ["the case carries no replay.py"]
    if copy.is_file() and file_digest(copy) != file_digest(shipped):
        notes.append("the case carries another replay.py than this release; it was not run")
    if not wanted:
        return skipped("V12", "not asked for: --replay", *notes)
    # Isolated: neither the environment nor the working folder can bring in code.
    command = [sys.executable, "-I", str(shipped), str(case.root)]
    try:
        done = subprocess.run(  # noqa: S603  (our interpreter, our program)
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return judged("V12", [f"replay did not end within {_SECONDS} s"])
    lines = (done.stdout + done.stderr).splitlines()
    left = [line for line in lines if line.startswith("not replayable ")]
    if done.returncode == 0 and left:
        # What could be computed again is right; that is less than all, and no level of its own.
        more = [f"and {len(left) - _SHOWN} more"] if len(left) > _SHOWN else []
        return skipped("V12", f"replayed in part: {lines[-1]}", *left[:_SHOWN], *more, *notes)
    if done.returncode == 0:
        return judged("V12", [], notes)
    return judged("V12", lines[-_SHOWN:] or [f"replay ended with {done.returncode}"])
