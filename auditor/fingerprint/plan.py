"""What two parties agree on before either makes a fingerprint: probes, seed, sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditor.canon import json_digest
from auditor.collect.suite import DEFAULT_SUITES, load_suite, select_probes
from auditor.errors import InputError
from auditor.kernels.sketches import FREQUENCIES
from auditor.types import Probe

METHOD = 1
"""Raised when the same plan gives other numbers."""
PROBES, PROJECTIONS, POSITIONS, TENSOR_PROJECTIONS = 96, 256, 32, 32
GROUPS = 16
"""Parts of the projections, each left out once to see how much they matter."""


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
    _check(agreed)
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
        "seed": agreed.seed,
        "projections": agreed.projections,
        "positions": agreed.positions,
        "tensor_projections": agreed.tensor_projections,
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


def _check(agreed: Agreed) -> None:
    k = agreed.projections
    if k < FREQUENCIES * GROUPS or k % (FREQUENCIES * GROUPS):
        raise InputError(
            f"{k} projections", hint=f"a multiple of {FREQUENCIES * GROUPS}, e.g. {PROJECTIONS}"
        )
    if agreed.probes < 1 or agreed.positions < 1:
        raise InputError("no probes or no positions", hint="ask for 1 or more of each")
    if agreed.tensor_projections < 0:
        raise InputError(f"{agreed.tensor_projections} tensor projections", hint="0 for none")
