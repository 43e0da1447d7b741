"""cost.json: what a run cost, in tokens and in seconds.

Not among the files that a lineage lists: seconds differ from one repeat to the next.
"""

import json
import time
from pathlib import Path
from typing import Any

from auditor.canon import file_digest, pretty_json
from auditor.case import atomic_write
from auditor.distill.run_folder import RunFolder, read_lineage

SCHEMA = "auditor/cost/1"


class Stopwatch:
    """Wall-clock seconds of the stages of one process."""

    def __init__(self, *, resumed: bool) -> None:
        """Start; `resumed` says that an earlier process did part of the work."""
        self.resumed = resumed
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to a stage."""
        now = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def write_cost(folder: RunFolder, watch: Stopwatch) -> None:
    """Write RUN/cost.json for a finished run.

    ``teacher_tokens_generated``: of its answers. ``teacher_tokens_scored``: positions at which its
    distribution or its inner states were computed; with a cache those that the cache holds, each
    once, else every training target at every step; the held-out ones once. ``training_tokens``:
    targets over all steps. ``cache_bytes_per_token``: None without a cache. ``seconds`` by stage,
    of the process that finished the run; ``resumed`` where others had begun it.

    Raises:
        StorageError: the disk is full.
    """
    lineage = read_lineage(folder)
    found = {
        "schema": SCHEMA,
        "run": file_digest(folder.lineage),
        **tokens(lineage),
        "teacher_tokens_generated": answer_tokens(folder.generations),
        "seconds": {stage: round(value, 3) for stage, value in watch.seconds.items()},
        "resumed": watch.resumed,
    }
    atomic_write(folder.cost, pretty_json(found))


def tokens(lineage: dict[str, Any]) -> dict[str, float | None]:
    """Return the counts of `write_cost` that follow from a lineage."""
    training, held = lineage["dose"]["gradient_tokens"], lineage["data"]["holdout_targets"]
    cache = lineage["data"].get("cache")
    scored = 0
    if cache is not None:
        # Of next bytes nothing is held out.
        scored = cache["positions"] + (held if cache["fidelity"] is not None else 0)
    elif lineage["method"]["kind"] in ("logits", "on-policy", "hidden"):
        scored = training + held
    return {
        "training_tokens": training,
        "teacher_tokens_scored": scored,
        "cache_bytes_per_token": None if cache is None else cache["bytes_per_position"],
    }


def answer_tokens(generations: Path) -> int | None:
    """Return the tokens of all recorded answers; None where a teacher showed text alone."""
    if not generations.is_file():
        return 0
    total = 0
    with generations.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            if row["text"] and not row["token_ids"]:
                return None
            total += len(row["token_ids"])
    return total
