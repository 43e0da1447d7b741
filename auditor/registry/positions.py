"""Which elements of a model's weights are looked at: fixed by seed, role, layer and size.

Two models of one shape are read at the same elements, whatever their files look like, so that the
samples can be laid side by side; how much is read follows from the headers alone.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from auditor.kernels.sketches import generator
from auditor.types import Array

WINDOW = 4096
"""Elements of one row that are read together, at most; a multiple of every block of ggml."""
MOST_OF_A_TENSOR = 1 << 18
"""Elements: a smaller tensor is read whole. Half a MiB where an element takes 2 bytes."""
MOST_OF_A_MODEL = 150_000_000
"""Elements; a model of more tensors than fit gets fewer windows of each. 300 MB at 2 bytes."""
_MOST_PERMUTED = 1 << 22
"""Windows, all of which are put in a random order: 34 MB. The largest embeddings have 300,000."""
_LAYER = re.compile(r"(?<=\.)\d{1,9}(?=\.)")
"""No model has a layer of more digits, and JSON, of which labels are made, no such number."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What a tensor is for: two tensors of the same place are sampled at the same elements."""

    role: str
    """Its name without the number of its layer."""
    layer: int
    """-1 where it is of none."""
    rows: int
    columns: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A part of a row: columns from `start` to before `stop`."""

    row: int
    start: int
    stop: int


def place_of(name: str, shape: tuple[int, ...]) -> Place:
    """Return the place of a tensor; leading axes count as rows."""
    found = _LAYER.search(name)
    role = _LAYER.sub("N", name, count=1)
    columns = shape[-1] if shape else 1
    rows = math.prod(shape[:-1])
    return Place(role, -1 if found is None else int(found[0]), rows, columns)


def share_of_a_tensor(places: Iterable[Place]) -> int:
    """Return how many elements of each tensor of a model are read, at most."""
    sizes = sorted(place.elements for place in places)
    left, waiting = MOST_OF_A_MODEL, len(sizes)
    for size in sizes:
        if size * waiting >= left:
            break
        left, waiting = left - size, waiting - 1
    fair = left // waiting if waiting else MOST_OF_A_TENSOR
    return max(WINDOW, min(MOST_OF_A_TENSOR, fair))


def windows(place: Place, seed: int, most: int = MOST_OF_A_TENSOR) -> tuple[Window, ...]:
    """Return the windows of a tensor, sorted; all of it where it has at most `most` elements.

    They are the first of one random order, so a smaller sample is part of a larger one.
    """
    blocks = -(-place.columns // WINDOW)
    count = place.rows * blocks
    if place.elements <= most:
        chosen = list(range(count))
    else:
        # The first windows of the order that together hold `most`; a last block may be short.
        order = _random_order(generator(*label_of(place, seed, "positions")), count)
        width = np.where(
            order % blocks == blocks - 1, place.columns - (blocks - 1) * WINDOW, WINDOW
        )
        chosen = sorted(order[: int(np.searchsorted(np.cumsum(width), most, side="right"))])
    return tuple(_window(int(number), blocks, place.columns) for number in chosen)


def _random_order(draw: np.random.RandomState, count: int) -> Array:
    """Return numbers below `count` in a random order: all, or of very many enough for a sample."""
    if count <= _MOST_PERMUTED:
        return draw.permutation(count)
    # A window holds an element at least; of twice as many draws few are repeated.
    drawn = draw.randint(0, count, size=2 * MOST_OF_A_TENSOR, dtype=np.int64)
    _, first = np.unique(drawn, return_index=True)
    return np.asarray(drawn[np.sort(first)])


def _window(number: int, blocks: int, columns: int) -> Window:
    row, block = divmod(number, blocks)
    return Window(row, block * WINDOW, min((block + 1) * WINDOW, columns))


def label_of(place: Place, seed: int, use: str) -> tuple[object, ...]:
    """Return the label of the random numbers of a place."""
    return seed, place.role, place.layer, place.rows, place.columns, use


def sampled_elements(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, int]:
    """Return how many elements of each tensor are read, from names and shapes alone."""
    places = {name: place_of(name, shape) for name, shape in shapes.items()}
    most = share_of_a_tensor(places.values())
    return {
        name: sum(window.stop - window.start for window in windows(place, seed, most))
        for name, place in places.items()
    }
