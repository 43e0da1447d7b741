"""Neuron partners of a pair as p-values: of each layer, and of all layers together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.errors import UndefinedError
from auditor.outputs import Pair
from auditor.types import Array

FEWEST_NEURONS = 10
_SMALLEST_P = 1e-300
_LN10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class LayerTest:
    """One layer's test."""

    layer: int
    neurons: int
    p: float
    """One-sided, in [1e-300, 1]: smaller p-values cannot be told apart in float64."""
    agreed: float
    """Share of the neurons whose two numbers are equal; 1 / neurons is expected by chance."""


def layer_tests(pair: Pair, first: str, second: str) -> tuple[LayerTest, ...]:
    """Return the one-sided Spearman test between two columns of the NEURON rows, by layer.

    The p-value is that of t = rho sqrt((n - 2) / (1 - rho^2)) with n - 2 degrees of freedom; for
    n >= 10 it is within a few percent of the exact permutation distribution (at the 5 % level).

    Args:
        pair: with its `neurons`.
        first: column with the number of a neuron, distinct within a layer.
        second: the other column.

    Raises:
        UndefinedError: the neurons are missing, or a layer has fewer than 10.
    """
    pair.require("neurons")
    rows = np.asarray(pair.neurons)
    layers = np.unique(rows["layer"]).tolist()
    if not layers:
        raise UndefinedError("no layer of neurons was collected")
    parts = [rows[rows["layer"] == layer] for layer in layers]
    tests = zip(layers, parts, strict=True)
    return tuple(_test(layer, part[first], part[second]) for layer, part in tests)


def layer_p(pair: Pair) -> list[dict[str, Any]]:
    """Return phi_MATCH of each layer, from the first, as JSON values: where the link shows.

    Each entry: ``layer`` (int), ``neurons`` (int, compared), ``log10_p`` (float in [-300, 0]) and
    ``agreed`` (float, share of neurons whose gate and up partners are the same one). The layers
    are that many tests: correct for it (Holm) before naming one.

    Raises:
        UndefinedError: as `layer_tests`.
    """
    return [
        {
            "layer": test.layer,
            "neurons": test.neurons,
            "log10_p": math.log10(test.p),
            "agreed": test.agreed,
        }
        for test in layer_tests(pair, "gate", "up")
    ]


def combined_log10_p(tests: Sequence[LayerTest]) -> float:
    """Return the base-10 logarithm of Fisher's combination of independent p-values, <= 0.

    Fisher 1925: -2 sum ln p has a chi-squared distribution with 2 L degrees of freedom; for an
    even number its tail is exp(-y) sum_{k < L} y^k / k! with y = -sum ln p, which is summed here
    in logarithms, since it is far below the smallest float for a replica.
    """
    y = -math.fsum(math.log(test.p) for test in tests)
    if y == 0.0:
        return 0.0
    terms = [k * math.log(y) - math.lgamma(k + 1) for k in range(len(tests))]
    largest = max(terms)
    tail = largest + math.log(math.fsum(math.exp(term - largest) for term in terms)) - y
    return min(tail / _LN10, 0.0)


def _test(layer: int, first: Array, second: Array) -> LayerTest:
    from scipy.stats import spearmanr

    count = len(first)
    if count < FEWEST_NEURONS:
        raise UndefinedError(
            f"layer {layer} has {count} neurons; the test needs at least {FEWEST_NEURONS}"
        )
    found = spearmanr(first, second, alternative="greater")
    p = float(np.clip(found.pvalue, _SMALLEST_P, 1.0))
    return LayerTest(layer, count, p, float(np.mean(first == second)))
