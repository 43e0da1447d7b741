"""Sketches and digests of weights: a few numbers of each matrix, from which no weight follows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auditor.canon import digest
from auditor.collect.merging import tensor_place
from auditor.collect.rederivation import FEWEST, TRIVIAL, neighbour_share
from auditor.errors import AccessError, MissingExtraError
from auditor.fingerprint.plan import Terms, block_count
from auditor.kernels.sketches import tensor_sketch
from auditor.models.weight_files import WeightFiles, open_weights
from auditor.progress import Progress
from auditor.types import Array


@dataclass(frozen=True, slots=True)
class SketchedTensors:
    """What a fingerprint says of the weights of a model."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One a tensor, sorted by name."""
    sums: Array | None = None
    """(blocks of all tensors, numbers) float32."""
    missing: dict[str, str] = field(default_factory=dict)


def sketched_tensors(spec: str, terms: Terms, progress: Progress) -> SketchedTensors:
    """Return the sketches of a model's weights, read from its files one tensor at a time.

    Raises:
        SubjectError: a tensor holds NaN or an infinity.
    """
    if not terms.content["tensor_projections"]:
        return SketchedTensors(missing={"tensors": "the terms ask for no sketch of weights"})
    try:
        weights = open_weights(spec)
        weights.check_whole()
    except (AccessError, MissingExtraError):
        # The error's own words would tell the other party the maker's paths.
        return SketchedTensors(missing={"tensors": "the weights cannot be read one by one"})
    rows, sums = [], []
    with progress.task("weights", len(weights.shapes)) as task:
        for name, shape in weights.shapes.items():
            row, sketch = _sketched(weights, name, shape, terms.content)
            rows.append(row)
            sums.append(sketch)
            task.advance()
    return SketchedTensors(rows, np.concatenate(sums))


def _sketched(
    weights: WeightFiles, name: str, shape: tuple[int, ...], terms: dict[str, Any]
) -> tuple[dict[str, Any], Array]:
    tensor = weights.read(name).float()
    values = tensor.numpy()
    size = terms["tensor_projections"]
    blocks = block_count(shape, size)
    parts = np.array_split(values, blocks) if blocks else []
    label = [terms["seed"], "tensor", name, list(shape)]
    found = [tensor_sketch(part, size, [*label, number]) for number, part in enumerate(parts)]
    layer, group = tensor_place(name)
    nonzero = int(np.count_nonzero(values))
    return {
        "name": name,
        "shape": list(shape),
        "layer": layer,
        "group": group,
        "blocks": blocks,
        "elements": nonzero,
        # Norms of ones and biases of zeros are equal in any two models.
        "counts": nonzero >= FEWEST and neighbour_share(tensor) < TRIVIAL,
        "digest": digest((values + 0.0).tobytes()),  # -0 becomes +0
    }, np.array(found, dtype=np.float32).reshape(blocks, size)
