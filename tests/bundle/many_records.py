"""Sealed cases of 100,000 record lines or of gigabytes, and what it costs to verify them.

    python tests/bundle/many_records.py make DRAFT [--probes 1000] [--repeats 10]
    python tests/bundle/many_records.py enlarge DRAFT --bytes 2000000000
    auditor seal DRAFT
    python tests/bundle/many_records.py measure DRAFT.evidence [--replay]

`make` asks ten shipped tiny models everything that access to weights allows: with the numbers
above that takes 20 minutes. `enlarge` adds one array to what was collected of the
first subject. `measure` prints bytes a second of `auditor verify` and of `sha256sum` on the same
files, and the largest memory of a process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from auditor.audit import audit
from auditor.canon import canonical_json, file_digest, json_digest, leaf_hash
from auditor.case import Case
from auditor.plan import AuditRequest, ControlSpec
from auditor.types import Access, Decoding

_CONTROLS = (
    *("same-data-00", "same-data-01", "same-data-02", "gpt2-00", "bytes-02"),
    *("other-stories-01", "other-stories-02", "other-stories-03"),
)
_SUITES = (
    *("borderline", "choices", "confabulation", "continuations", "formatting"),
    *("identity", "instructions", "multilingual", "ood", "reasoning"),
)


def many_records(root: Path, probes: int, repeats: int) -> Case:
    """Return a finished case of ten subjects: 10 * probes * repeats record lines."""
    return audit(
        AuditRequest(
            command="compare",
            reference="tiny:zoo/reference-00",
            suspects=("tiny:zoo/sibling-logits-02",),
            controls=tuple(ControlSpec(spec=f"tiny:zoo/{name}") for name in _CONTROLS),
            suites=_SUITES,
            access=Access.WEIGHTS,
            probes=probes,
            repeats=repeats,
            decoding=Decoding(max_new_tokens=8),
        ),
        root,
    )


def enlarge(case: Case, size: int) -> None:
    """Add an array of `size` bytes to what was collected of the first subject, and log it."""
    subject = case.read_json("plan.json")["subjects"][0]["name"]
    path = case.array("large", subject)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.lib.format.open_memmap(path, "w+", np.uint8, (size,))
    step, draws = 1 << 24, np.random.RandomState(0)
    for start in range(0, size, step):
        stored[start : start + step] = np.frombuffer(draws.bytes(step), np.uint8)[: size - start]
    stored.flush()
    collected = case.read_json(f"collected/{subject}.json")
    collected["digests"][path.relative_to(case.data).as_posix()] = file_digest(path)
    case.write_json(f"collected/{subject}.json", collected)
    _log_again(case, subject, json_digest(collected))


def _log_again(case: Case, subject: str, digest: str) -> None:
    lines, previous = [], ""
    for line in (case.data / "custody.jsonl").read_bytes().splitlines():
        row = {**json.loads(line), "prev": previous}
        if row["event"] == "collected" and row["name"] == subject:
            row["digest"] = digest
        lines.append(canonical_json(row))
        previous = leaf_hash(lines[-1])
    (case.data / "custody.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process took."""

    seconds: float
    """Wall clock."""
    cpu_seconds: float
    """User and system, its own children included."""
    peak_bytes: int
    """Largest resident size of it, or of a child."""
    exit_code: int


def cost(command: list[str], folder: Path) -> Cost:
    """Run a command to its end; its output is dropped."""
    start = time.perf_counter()
    started = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    return Cost(
        seconds=time.perf_counter() - start,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * 1024,
        exit_code=os.waitstatus_to_exitcode(status),
    )


def measured(root: Path, *, replay: bool) -> dict[str, object]:
    """Return what `auditor verify` and `sha256sum` take on a sealed case, as JSON values."""
    words = [
        sys.executable,
        "-P",
        "-m",
        "auditor",
        "verify",
        str(root.resolve()),
        "--min-level",
        "L1",
    ]
    files = [path for path in root.rglob("*") if path.is_file()]
    found = {
        "sha256sum": cost(["sha256sum", "--quiet", "-c", "manifest-sha256.txt"], root),
        "verify": cost(words, root),
    }
    if replay:
        found["verify --replay"] = cost([*words, "--replay"], root)
        found["replay.py"] = cost(
            [sys.executable, "-I", str(root.resolve() / "data/replay.py")], root
        )
    size = sum(path.stat().st_size for path in files)
    lines = [path.read_bytes().count(b"\n") for path in (root / "data/records").rglob("*.jsonl")]
    return {
        "bytes": size,
        "record_lines": sum(lines),
        **{
            name: {**asdict(one), "bytes_per_cpu_second": size / one.cpu_seconds}
            for name, one in found.items()
        },
    }


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make")
    make.add_argument("root", type=Path)
    make.add_argument("--probes", type=int, default=1000)
    make.add_argument("--repeats", type=int, default=10)
    larger = commands.add_parser("enlarge")
    larger.add_argument("root", type=Path)
    larger.add_argument("--bytes", type=int, required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("root", type=Path)
    measure.add_argument("--replay", action="store_true")
    chosen = parser.parse_args()
    if chosen.command == "make":
        many_records(chosen.root, chosen.probes, chosen.repeats)
    elif chosen.command == "enlarge":
        enlarge(Case(chosen.root), chosen.bytes)
    else:
        sys.stdout.write(json.dumps(measured(chosen.root, replay=chosen.replay), indent=2) + "\n")


if __name__ == "__main__":
    main()
