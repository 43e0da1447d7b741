"""The models of one run: loaded once where memory allows, never two large ones at a time."""

import contextlib
import os
from collections.abc import Callable, Iterator
from collections.abc import Collection as Specs
from pathlib import Path
from typing import Any

from auditor.collect.store import Closing
from auditor.errors import CaseError
from auditor.models.base import Model
from auditor.models.threads import suited_threads
from auditor.types import ModelRef

_SHARE = 0.25
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Shelf(Closing):
    """Opened models by specifier; those that are needed again stay while their weights fit."""

    def __init__(
        self,
        plan: dict[str, Any],
        again: Specs[str] = (),
        budget: int | None = None,
        served: Callable[[str], Model] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            plan: says how models are opened.
            again: specifiers of the models that are used more than once.
            budget: bytes of weights to keep beside the model in use; None for a quarter of the
                memory of the device.
            served: opens a model behind a server; None: as any other, without log and limits.
        """
        self._plan = plan
        self._again = frozenset(again)
        self._budget = shelf_budget(plan["device"]) if budget is None else budget
        self._served = served
        self._kept: dict[str, Model] = {}

    @contextlib.contextmanager
    def use(self, *subjects: dict[str, Any]) -> Iterator[Model]:
        """Lend the one model of some subjects of the plan for the block.

        A small one runs on one core inside.

        Raises:
            CaseError: it is not the model that was planned for one of them.
            SubjectError: it cannot be loaded any more.
        """
        spec = subjects[0]["spec"]
        model = self._kept.pop(spec, None) or self._open(spec)
        try:
            for subject in subjects:
                _check_identity(model, subject)
            with suited_threads(model.ref.parameters):
                yield model
        except BaseException:
            model.close()
            raise
        self._put_back(spec, model)

    def _open(self, spec: str) -> Model:
        from auditor.models import open_model

        if self._served is not None and spec.startswith("openai:"):
            return self._served(spec)
        plan = self._plan
        return open_model(
            spec, device=plan["device"], dtype=plan["dtype"], batch_tokens=plan["batch_tokens"]
        )

    def _put_back(self, spec: str, model: Model) -> None:
        taken = sum(weight_bytes(kept.ref) for kept in self._kept.values())
        if spec in self._again and taken + weight_bytes(model.ref) <= self._budget:
            self._kept[spec] = model
        else:
            model.close()

    def close(self) -> None:
        """Close every model."""
        while self._kept:
            self._kept.popitem()[1].close()


def weight_bytes(ref: ModelRef) -> int:
    """Return the memory of a model's weights, in the type it runs in; 0 where there are none."""
    return (ref.parameters or 0) * _BYTES.get(ref.dtype or "", 0)


def shelf_budget(device: str | None) -> int:
    """Return a quarter of the memory, in bytes, of the device that models are opened on."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        number = torch.device(device).index if device and device != "auto" else None
        memory: int = torch.cuda.get_device_properties(number or 0).total_memory
    else:
        memory = main_memory()
    return int(memory * _SHARE)


def main_memory() -> int:
    """Return the bytes that this process may use: of the machine, or of its control group."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(machine, int(allowed)) if allowed.isdigit() else machine


def _check_identity(model: Model, subject: dict[str, Any]) -> None:
    if model.ref.digest != subject["digest"]:
        raise CaseError(
            f"{subject['spec']} is not the model that was planned: "
            f"its digest is {model.ref.digest}, planned {subject['digest']}",
            hint="restore the model, or start a new case with another --out",
        )
