"""How time and memory of `auditor scan` grow with the number of suspects; writes a Markdown table.

    python -m auditor.registry.scaling --out FOLDER [--sizes 25 50 100 200]

The suspects are perturbed copies of the tiny models that ship with the package. Each size is one
process of its own; CPU time is that of the process, so that other work on the machine counts less.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.models.tiny import tiny_models

REFERENCE = "tiny:zoo/reference-00"
_NOISE = 0.05
"""Standard deviation of what is added, in units of each tensor's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One scan."""

    suspects: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    case_bytes: int


def make_suspects(folder: Path, count: int, like: str = "zoo/") -> Path:
    """Fill a folder with perturbed copies of the tiny models whose names begin with `like`."""
    from safetensors.numpy import load_file, save_file

    sources = [path for name, path in tiny_models().items() if name.startswith(like)]
    for number in range(count):
        target = folder / f"suspect-{number:03d}"
        shutil.copytree(sources[number % len(sources)], target)
        weights = load_file(target / "model.safetensors")
        draws = np.random.RandomState(number)
        changed = {
            name: (tensor + draws.standard_normal(tensor.shape) * tensor.std() * _NOISE).astype(
                tensor.dtype
            )
            for name, tensor in sorted(weights.items())
        }
        save_file(changed, target / "model.safetensors", metadata={"format": "pt"})
    return folder


def timed_scan(folder: Path, count: int, options: Sequence[str], out: Path) -> Run:
    """Return what one scan of the first `count` suspects took, in a process of its own.

    Raises:
        RuntimeError: the scan failed; the message ends with what it said.
    """
    chosen = sorted(path for path in folder.iterdir() if path.is_dir())[:count]
    listing = folder / f"first-{count}.txt"
    listing.write_text("".join(f"{path.name}\n" for path in chosen))
    command = [sys.executable, "-m", "auditor", "scan", REFERENCE, "--list", str(listing)]
    start = time.perf_counter()
    child = subprocess.Popen(  # noqa: S603 - this package, on files made here
        [*command, "--out", str(out), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = child.stderr.read() if child.stderr is not None else ""
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"auditor scan ended with {child.returncode}: {said[-2000:]}")
    return Run(
        suspects=count,
        wall_seconds=wall,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * 1024,
        case_bytes=sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
    )


def line_fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Return (slope, intercept, R squared) of the least-squares line."""
    slope, intercept = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (slope * np.asarray(x) + intercept)
    total = np.asarray(y) - np.mean(y)
    return float(slope), float(intercept), float(1 - rest @ rest / (total @ total))


def table(runs: Sequence[Run]) -> str:
    """Return the runs as a Markdown table with the fit below."""
    lines = [
        "| suspects | CPU s | wall s | peak memory, MB | case, MB |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {run.suspects} | {run.cpu_seconds:.1f} | {run.wall_seconds:.1f} | "
        f"{run.peak_bytes / 1e6:,.0f} | {run.case_bytes / 1e6:,.1f} |"
        for run in runs
    ]
    if len(runs) > 2:
        sizes = [float(run.suspects) for run in runs]
        slope, intercept, fit = line_fit(sizes, [run.cpu_seconds for run in runs])
        memory, _, _ = line_fit(sizes, [run.peak_bytes / 1e6 for run in runs])
        lines += [
            "",
            f"CPU seconds = {intercept:.1f} + {slope:.3f} a suspect, R squared {fit:.4f}; peak "
            f"memory grows by {memory:.2f} MB a suspect.",
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the suspects where they are missing, scan each number of them, print the table."""
    parser = argparse.ArgumentParser(description="Time and memory of auditor scan by suspects.")
    parser.add_argument("--out", type=Path, required=True, help="folder for suspects and cases")
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of auditor scan")
    given = parser.parse_args(arguments)
    folder = given.out / "suspects"
    if not folder.is_dir():
        make_suspects(folder, max(given.sizes))
    runs = []
    for count in given.sizes:
        case = given.out / f"case-{count}"
        runs.append(timed_scan(folder, count, given.options, case))
        sys.stderr.write(f"{runs[-1]}\n")
        shutil.rmtree(case, ignore_errors=True)
    sys.stdout.write(table(runs))


if __name__ == "__main__":
    main()
