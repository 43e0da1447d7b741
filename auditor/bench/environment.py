"""Where the numbers come from: processor, device, versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from auditor.bench.experiment import Settings


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> float | None:
    """Return the mean number of running processes over the last minute, where it is known."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def distribution_version(name: str) -> str | None:
    """Return a package's version, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def environment(settings: Settings) -> dict[str, Any]:
    """Return what a reader needs to place the numbers."""
    import torch

    gpu = torch.device(settings.device).type == "cuda"
    return {
        "device": settings.device,
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "processor": processor(),
        "cores": cores(),
        "threads": settings.threads,
        "load_before": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "auditor": distribution_version("auditor"),
    }
