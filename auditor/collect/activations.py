"""What the neurons of a model do at some positions of the reference's sequences.

Kept are the outputs of the projections before the nonlinearity, as in model-tracing: they are
linear in what the layer reads, no neuron is silent at all positions, and a rescaled neuron keeps
its direction.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.case import Case
from auditor.collect.agreement import stored_type, to_stored
from auditor.collect.arrays import ArrayWriter
from auditor.collect.forcing import ForcedBatch
from auditor.collect.sequences import ForcedText
from auditor.errors import CaseError
from auditor.models.projections import Mlp, Projection
from auditor.types import Array

if TYPE_CHECKING:
    import torch

POSITIONS = 512
FEWEST_POSITIONS = 16


def chosen_positions(texts: Sequence[ForcedText], limit: int = POSITIONS) -> dict[int, Array]:
    """Return up to `limit` scored positions, spread over the probes: {probe: (n,) int64}.

    Every text gives as many as the others, or all that it has; within a text they are evenly
    spaced. Only scored positions: those of a chat template say the same in every probe. Probes
    without any are left out.
    """
    shares = _shares([text.scored for text in texts], limit)
    return {
        text.probe: text.first + np.linspace(0, text.scored - 1, share).round().astype(np.int64)
        for text, share in zip(texts, shares, strict=True)
        if share
    }


_NOWHERE = np.zeros(0, dtype=np.int64)


def _shares(available: Sequence[int], limit: int) -> list[int]:
    """Return how many of what each has is taken: equal shares, the rest to the first ones."""
    shares = [0] * len(available)
    left = min(limit, sum(available))
    while left:
        open_ones = [i for i, count in enumerate(available) if shares[i] < count]
        each = max(left // len(open_ones), 1)
        for i in open_ones:
            taken = min(each, available[i] - shares[i], left)
            shares[i] += taken
            left -= taken
    return shares


def taps_of(mlps: Sequence[Mlp]) -> list[Projection]:
    """Return the projections whose outputs are kept, layer by layer: gate, then up."""
    return [part for mlp in mlps for part in (mlp.gate, mlp.incoming) if part is not None]


class NeuronActivations:
    """Rows of ``work/activations/<subject>.npy``: one a chosen position, all neurons side by side.

    In the type of the model, without loss, in the order of the batches.
    """

    def __init__(
        self, case: Case, subject: str, texts: Sequence[ForcedText], mlps: Sequence[Mlp]
    ) -> None:
        self._chosen = chosen_positions(texts)
        self._taps = taps_of(mlps)
        self._caught: dict[int, torch.Tensor] = {}
        rows = sum(len(places) for places in self._chosen.values())
        self._type = self._taps[0].weight.dtype
        width = sum(tap.outputs for tap in self._taps)
        self.writer = ArrayWriter(
            activations_path(case, subject), stored_type(self._taps[0].weight), rows, (width,)
        )

    def count(self, text: ForcedText) -> int:
        """Return the number of chosen positions."""
        return len(self._chosen.get(text.probe, _NOWHERE))

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n, all neurons) of the batch that was watched last."""
        import torch

        caught, self._caught = self._caught, {}
        inside = [caught[tap] for tap in range(len(self._taps))]
        return to_stored(torch.cat(inside, dim=1).to(self._type))

    @contextlib.contextmanager
    def watching(self, batch: Sequence[ForcedText]) -> Iterator[None]:
        """Catch the activations of the forward pass of `batch` that runs inside.

        Raises:
            CaseError: the model ran it in other batches than planned.
        """
        self._caught = {}
        handles = [
            tap.layer.register_forward_hook(self._hook(number, batch))
            for number, tap in enumerate(self._taps)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        if len(self._caught) != len(self._taps):
            raise _other_batches()

    def _hook(self, number: int, batch: Sequence[ForcedText]) -> Any:
        longest = max(len(text.token_ids) for text in batch)
        places = [self._chosen.get(text.probe, _NOWHERE) for text in batch]
        columns = np.concatenate(places)
        rows = np.repeat(np.arange(len(batch)), [len(one) for one in places])

        def catch(_layer: Any, _inputs: Any, output: "torch.Tensor") -> None:
            values = self._taps[number].of_output(output)
            if values.shape[:-1].numel() != len(batch) * longest:
                raise _other_batches()
            # Some architectures run all tokens as one row.
            values = values.reshape(len(batch), longest, -1)
            self._caught[number] = values[rows, columns].detach().cpu()

        return catch


def activations_path(case: Case, subject: str) -> Path:
    """Return where the activations of a subject are kept."""
    return case.work / "activations" / f"{subject}.npy"


def _other_batches() -> CaseError:
    return CaseError("the model ran the sequences in other batches than planned")
