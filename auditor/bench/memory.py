"""Peak memory of one candidate beyond its inputs, measured in a process of its own.

On a CPU: the highest resident size during a run, less the size just before it; the kernel's mark
is reset in between (Linux, proc(5), clear_refs). A first run outside the measurement loads
libraries and compiles; freed memory is given back to the system before each look. On a GPU: the
allocator's peak less what was allocated.
"""

import ctypes
import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from auditor.bench.experiment import Run, Settings
from auditor.bench.timing import LONG_S
from auditor.errors import KernelUnavailableError

_PATIENCE_S = 900
_STATUS = Path("/proc/self/status")
_MARK = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def measured_apart(
    case: str, key: str, candidate: str, settings: Settings
) -> tuple[int | None, str | None]:
    """Return the extra bytes of a candidate, or why they are unknown."""
    request = {"case": case, "key": key, "candidate": candidate, "settings": asdict(settings)}
    command = [sys.executable, "-m", "auditor.bench.memory_child", json.dumps(request)]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"its process took longer than {_PATIENCE_S} s"
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return None, f"its process failed: {last[:200]}"
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["extra_bytes"], answer["reason"]


def extra_bytes(run: Run, device: str, *, compiles: bool = False) -> int:
    """Return the peak of memory during a run beyond what was in use before it.

    Of the second run; of the first where that was long and had nothing to compile.

    Raises:
        KernelUnavailableError: this system does not tell.
    """
    start = time.perf_counter()
    first = _peak(run, device)
    long = time.perf_counter() - start > LONG_S
    return first if long and not compiles else _peak(run, device)


def _peak(run: Run, device: str) -> int:
    import torch

    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = int(torch.cuda.memory_allocated())
        kept = run()
        torch.cuda.synchronize()
        del kept
        return int(torch.cuda.max_memory_allocated()) - before
    _give_back()
    _reset_mark()
    before = _resident("VmRSS")
    kept = run()
    peak = _resident("VmHWM")
    del kept
    return max(peak - before, 0)


def _give_back() -> None:
    """Return freed heap memory to the system, where the C library can (glibc)."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _reset_mark() -> None:
    try:
        _MARK.write_text(_RESET_PEAK)
    except OSError as error:
        raise KernelUnavailableError(
            f"peak memory cannot be measured here: {error.strerror}",
            hint="Linux with a writable /proc/self/clear_refs tells it",
        ) from error


def _resident(field: str) -> int:
    """Return VmRSS or VmHWM in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KernelUnavailableError(f"this system does not report {field}")
