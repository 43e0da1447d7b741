"""Full-vocabulary agreement of the reference and another model at the same positions.

Two models need never be in memory together: the reference's final hidden states and its head are
kept in ``work/``, without loss, and logits exist only for a chunk of positions.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import pretty_json
from auditor.case import Case, atomic_write
from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.forcing import ForcedBatch
from auditor.collect.sequences import ForcedText
from auditor.models.base import Head
from auditor.outputs import POSITION, TOPK
from auditor.types import Array

if TYPE_CHECKING:
    import torch

    from auditor.kernels import Agreement

_HEAD_ROWS = 4096
_LOGITS = 1 << 19
"""Logits of each model held at a time, 2 MiB, where the vocabulary is small."""
_FEWEST_POSITIONS = 256


class KeptStates:
    """The reference's final hidden states at the scored positions, in the order of the batches."""

    def __init__(self, case: Case, reference: str, texts: Sequence[ForcedText], head: Head) -> None:
        rows = sum(text.scored for text in texts)
        stored = stored_type(head.weight)
        self.writer = ArrayWriter(
            states_path(case, reference), stored, rows, (int(head.weight.shape[1]),)
        )
        self._type = head.weight.dtype

    def count(self, text: ForcedText) -> int:
        """Return the number of scored positions."""
        return text.scored

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n, D) states in the model's own type."""
        return to_stored(batch.scored_states().to(self._type))


class PositionAgreement:
    """Rows of ``arrays/agreement/<suspect>.npy``: the reference against another model."""

    def __init__(self, case: Case, names: tuple[str, str], texts: Sequence[ForcedText], head: Head):
        """Open the array of `names` (reference, suspect); `head` is the suspect's."""
        from auditor.kernels import Workspace

        reference, suspect = names
        rows = sum(text.scored for text in texts)
        self.writer = ArrayWriter(case.array("agreement", suspect), POSITION, rows)
        self._states = ArrayReader(states_path(case, reference))
        self._kept = load_head(case, reference, head.weight.device)
        self._own = head
        self._tables = Workspace()

    def count(self, text: ForcedText) -> int:
        """Return the number of scored positions."""
        return text.scored

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n,) of dtype POSITION."""
        import torch

        from auditor.kernels import linear_agreement

        device = self._own.weight.device
        targets = batch.targets()
        kept = self._states.read(start, start + len(targets))
        a, b = self._kept, self._own
        found = linear_agreement(
            from_stored(kept, a.weight.dtype).to(device),
            a.weight,
            batch.scored_states().to(device=device, dtype=b.weight.dtype),
            b.weight,
            torch.from_numpy(targets).to(device),
            bias=(a.bias, b.bias),
            softcap=(a.softcap, b.softcap),
            scale=(a.scale, b.scale),
            chunk=max(_FEWEST_POSITIONS, _LOGITS // b.vocabulary),
            topk=TOPK,
            workspace=self._tables,
        )
        return position_rows(found, batch)


def position_rows(found: "Agreement", batch: ForcedBatch) -> Array:
    """Return the kernel's result as rows of POSITION; what is not finite becomes NaN."""
    rows = np.zeros(len(found.kl_ab), dtype=POSITION)
    rows["probe"] = batch.probes()
    rows["token"] = batch.targets()
    for name in POSITION.names or ():
        if name in ("probe", "token"):
            continue
        values = getattr(found, name).cpu().numpy()
        if values.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, np.nan)
        rows[name] = values
    return rows


def states_path(case: Case, reference: str) -> Path:
    """Return where the reference's hidden states are kept."""
    return case.work / "hidden" / f"{reference}.npy"


def save_head(case: Case, reference: str, head: Head) -> None:
    """Keep a head in ``work/head``, without loss."""
    folder = case.work / "head"
    vocabulary, width = head.weight.shape
    _save(folder / f"{reference}.npy", head.weight, (int(width),))
    if head.bias is not None:
        _save(folder / f"{reference}.bias.npy", head.bias, ())
    about = {
        "dtype": str(head.weight.dtype).removeprefix("torch."),
        "bias": None if head.bias is None else str(head.bias.dtype).removeprefix("torch."),
        "softcap": head.softcap,
        "scale": head.scale,
        "vocabulary": int(vocabulary),
    }
    # Last: its presence says that the head is complete.
    atomic_write(folder / f"{reference}.json", pretty_json(about))


def _save(path: Path, tensor: "torch.Tensor", width: tuple[int, ...]) -> None:
    path.unlink(missing_ok=True)
    with ArrayWriter(path, stored_type(tensor), len(tensor), width) as writer:
        writer.resume([0])
        for start in range(0, len(tensor), _HEAD_ROWS):
            writer.append(to_stored(tensor[start : start + _HEAD_ROWS]))
        writer.finish()


def has_head(case: Case, reference: str) -> bool:
    """Whether a complete head is kept."""
    return (case.work / "head" / f"{reference}.json").is_file()


def kept_vocabulary(case: Case, reference: str) -> int:
    """Return the number of token ids of a kept head."""
    return int(_about(case, reference)["vocabulary"])


def _about(case: Case, reference: str) -> dict[str, Any]:
    return json.loads((case.work / "head" / f"{reference}.json").read_bytes())


def load_head(case: Case, reference: str, device: "torch.device") -> Head:
    """Return a kept head; on a CPU it is mapped from its file, not read."""
    import torch

    folder = case.work / "head"
    about = _about(case, reference)
    bias = None
    if about["bias"] is not None:
        bias = _load(folder / f"{reference}.bias.npy", getattr(torch, about["bias"])).to(device)
    weight = _load(folder / f"{reference}.npy", getattr(torch, about["dtype"])).to(device)
    return Head(weight=weight, bias=bias, softcap=about["softcap"], scale=about["scale"])


def _load(path: Path, dtype: "torch.dtype") -> "torch.Tensor":
    # Copy on write: torch wants memory that it may write to.
    return from_stored(np.load(path, mmap_mode="c", allow_pickle=False), dtype)


def stored_type(tensor: "torch.Tensor") -> np.dtype[np.generic]:
    """Return the type that holds a tensor's numbers without loss; bfloat16 as its 16 bits."""
    name = str(tensor.dtype).removeprefix("torch.")
    return np.dtype("<u2" if name == "bfloat16" else name)


def to_stored(tensor: "torch.Tensor") -> Array:
    """Return the numbers of a tensor in its `stored_type`."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def from_stored(values: Array, dtype: "torch.dtype") -> "torch.Tensor":
    """Return the tensor of stored numbers, sharing their memory."""
    import torch

    if dtype == torch.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)
