"""Run as a process of its own: audit tiny models on argv[1] probes; print the peaks of its stages.

    python tests/collect/probe_memory.py PROBES FOLDER [ENCODER [CONTROLS]]

ENCODER "" stands for none; CONTROLS are 2 unless said, from 4 on residuals are measured.

Peaks are resident memory of this process in bytes (VmHWM, reset before each: Linux, proc(5));
pages of mapped files count while they are in memory. ``"own"`` holds the same without them, as
far as looking every 5 ms sees it: what the system cannot take back.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.audit import collect, judge_case
from auditor.case import locked, open_case
from auditor.measuring import measure_case
from auditor.plan import AuditRequest, ControlSpec, plan_audit
from auditor.progress import Task
from auditor.report.render import write_reports
from auditor.types import Decoding

STATUS = Path("/proc/self/status")
MARK = Path("/proc/self/clear_refs")
REFERENCE, SUSPECT = "tiny:zoo/reference-00", "tiny:zoo/same-data-00"
CONTROLS = (
    "tiny:zoo/same-data-01",
    "tiny:zoo/other-stories-01",
    "tiny:zoo/same-data-02",
    "tiny:zoo/other-stories-02",
)


def resident(field: str) -> int:
    """Return VmRSS or VmHWM in bytes."""
    line = next(row for row in STATUS.read_text().splitlines() if row.startswith(field + ":"))
    return int(line.split()[1]) * 1024


class Peaks:
    """Peak memory by stage, and by task of a stage: shows progress to nobody."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        self.own: dict[str, int] = {}
        self._highest: list[list[int]] = []
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            now = resident("RssAnon")
            for highest in tuple(self._highest):
                highest[0] = max(highest[0], now)
            time.sleep(0.005)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Keep the peak of what is done inside."""
        before = resident("VmHWM")
        MARK.write_text("5")
        self._highest.append([0])
        yield
        self.own[name] = max(self.own.get(name, 0), self._highest.pop()[0])
        self.of[name] = max(self.of.get(name, 0), resident("VmHWM"))
        self.of["peak"] = max(self.of.get("peak", 0), before, self.of[name])

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """Keep the peak of a task, those of all models together."""
        del total
        with self.stage(description.rsplit(" ", 1)[0]):
            yield self

    def advance(self, amount: int = 1) -> None:
        """Show nothing."""


def write_suite(path: Path, probes: int) -> Path:
    """Write different chats and texts of about 60 bytes."""
    rows = []
    for number in range(probes):
        said = f"Tell me of number {number} and of what comes {number % 7} places after it."
        asked = {"messages": [{"role": "user", "content": said}]} if number % 3 else {"text": said}
        rows.append({"id": f"p-{number:05d}", "category": ("story", "end")[number % 2], **asked})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measured(probes: int, folder: Path, encoder: str | None, controls: int = 2) -> dict[str, Any]:
    """Audit, and return the peaks in bytes, the seconds and the bytes of the case."""
    import torch

    torch.set_num_threads(1)
    peaks, start = Peaks(), time.perf_counter()
    request = AuditRequest(
        command="compare",
        reference=REFERENCE,
        suspects=(SUSPECT,),
        controls=tuple(ControlSpec(spec=spec) for spec in CONTROLS[:controls]),
        suites=(str(write_suite(folder / "suite.jsonl", probes)),),
        probes=None,
        decoding=Decoding(max_new_tokens=16),
        device="cpu",
        encoder=encoder,
    )
    with peaks.stage("plan"):
        case = open_case(folder / "case", plan_audit(request))
    with locked(case):
        with peaks.stage("collect"):
            collect(case, peaks)
        with peaks.stage("measure"):
            measure_case(case, peaks)
        with peaks.stage("judge"):
            judge_case(case)
        with peaks.stage("report"):
            write_reports(case)
    size = sum(path.stat().st_size for path in case.root.rglob("*") if path.is_file())
    return {**peaks.of, "own": peaks.own, "seconds": time.perf_counter() - start, "case": size}


if __name__ == "__main__":
    encoder = sys.argv[3] if len(sys.argv) > 3 else ""
    found = measured(int(sys.argv[1]), Path(sys.argv[2]), encoder or None, *map(int, sys.argv[4:]))
    sys.stdout.write(json.dumps(found) + "\n")
