"""What two parties agree on before either makes a fingerprint: probes, seed, sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.canon import LARGEST_INTEGER, json_digest
from auditor.collect.suite import DEFAULT_SUITES, load_suite, select_probes
from auditor.errors import InputError
from auditor.kernels.sketches import FREQUENCIES
from auditor.types import Probe

METHOD = 1
"""Raised when the same plan gives other numbers."""
PROBES, PROJECTIONS, POSITIONS, TENSOR_PROJECTIONS = 96, 256, 32, 32
GROUPS = 16
"""Parts of the projections, each left out once to see how much they matter."""
BLOCKS = 8
"""Parts of a matrix, each sketched alone: units of the bootstrap of merge-share."""
LEAST_RATIO = 16
"""Weights for each number of a sketch at least; smaller matrices are not sketched."""
_STEP = FREQUENCIES * GROUPS
_RANGES = {
    "seed": (-LARGEST_INTEGER, LARGEST_INTEGER),
    # Distances err by 1.6 % with 8,192; for 128,000 tokens, drawing these takes 8 GB of memory.
    "projections": (_STEP, 8192),
    # More tokens than any probe has.
    "positions": (1, 65_536),
    # Of a matrix, 8 x 4,096 float32 are 131 kB; more would be a good part of most matrices.
    "tensor_projections": (0, 4096),
}
"""Least and most of each number of the terms: who is sent a file makes it again on its terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """The terms of an exchange as a person gives them."""

    suites: tuple[str, ...] = ()
    """Names; empty for the default mix."""
    probes: int = PROBES
    seed: int = 0
    projections: int = PROJECTIONS
    """k, of each distribution and of a probe's mean hidden state."""
    positions: int = POSITIONS
    """Most of one probe."""
    tensor_projections: int = TENSOR_PROJECTIONS
    """Numbers of each block of a weight matrix; 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The same with the probes chosen: fingerprints of equal terms can be compared."""

    content: dict[str, Any]
    """As JSON values; what the digest is over."""
    probes: tuple[Probe, ...]

    @property
    def digest(self) -> str:
        """The commitment that both parties can exchange before anything else."""
        return json_digest(self.content)


def terms_of(agreed: Agreed) -> Terms:
    """Return the terms with their probes.

    Raises:
        InputError: a number cannot be used.
        SuiteError: a suite is missing or malformed.
    """
    sizes = {name: getattr(agreed, name) for name in _RANGES}
    check_sizes(sizes)
    suites = [load_suite(name) for name in agreed.suites or DEFAULT_SUITES]
    selected = select_probes(suites, agreed.probes, agreed.seed)
    content = {
        "method": METHOD,
        "suites": [
            {
                "name": suite.name,
                "version": suite.version,
                "digest": suite.digest,
                "probes": [probe.id for probe in probes],
            }
            for suite, probes in selected
        ],
        **sizes,
    }
    probes = tuple(probe for _, chosen in selected for probe in chosen)
    return Terms(content=content, probes=probes)


def probes_of(content: dict[str, Any], sources: Sequence[str] = ()) -> tuple[Probe, ...]:
    """Return the probes that terms name, from the installed suites or those of `sources`.

    Raises:
        InputError: a suite or a probe is not the one of the terms.
    """
    found: list[Probe] = []
    given = {suite.name: suite for suite in map(load_suite, sources)}
    for entry in content["suites"]:
        suite = given.get(entry["name"]) or load_suite(f"{entry['name']}@{entry['version']}")
        by_id = {probe.id: probe for probe in suite.probes}
        if suite.digest != entry["digest"] or not set(entry["probes"]) <= set(by_id):
            raise InputError(
                f"the suite {suite.id} at hand is not the one of the fingerprint",
                hint="name the same suite with --suite",
            )
        found += [by_id[probe] for probe in entry["probes"]]
    return tuple(found)


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse numbers that terms cannot have.

    Raises:
        InputError: one is out of its range, or the projections cannot be divided.
    """
    if sizes["projections"] % _STEP:
        raise InputError(
            f"projections {sizes['projections']}",
            hint=f"projections: a multiple of {_STEP}, e.g. {PROJECTIONS}",
        )
    for name, (least, most) in _RANGES.items():
        if not least <= sizes[name] <= most:
            raise InputError(f"{name} {sizes[name]}", hint=f"{name}: {least} to {most}")


def block_count(shape: Sequence[int], numbers: int) -> int:
    """Return in how many blocks a tensor is sketched; 0 where it is no matrix, or too small.

    Args:
        shape: of the tensor.
        numbers: of each sketch.
    """
    if len(shape) != 2:
        return 0
    blocks = min(BLOCKS, shape[0])
    return blocks if math.prod(shape) >= LEAST_RATIO * numbers * blocks else 0


def state_numbers(width: int, projections: int) -> int:
    """Return how many numbers of a mean hidden state leave: at most half of its own.

    Of one seed, that is; those of a second one are others, and the two may give the state back.
    """
    return max(1, min(projections, width // 2))
