"""The process that measures one candidate's memory: `python -m auditor.bench.memory_child JSON`."""

import json
import sys
from typing import Any

from auditor.bench.catalogue import build
from auditor.bench.experiment import Settings
from auditor.bench.memory import extra_bytes
from auditor.errors import KernelUnavailableError


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the extra bytes of the candidate that a request names, or the reason for none."""
    import torch

    settings = Settings(**request["settings"])
    torch.set_num_threads(settings.threads)
    experiment = build(request["case"], request["key"], settings)
    chosen = next(c for c in experiment.candidates if c.name == request["candidate"])
    try:
        size = extra_bytes(chosen.prepare(), settings.device, compiles=chosen.compiles)
    except KernelUnavailableError as error:
        return {"extra_bytes": None, "reason": error.message}
    return {"extra_bytes": size + chosen.kept_bytes, "reason": None}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(answer(json.loads(sys.argv[1]))) + "\n")
