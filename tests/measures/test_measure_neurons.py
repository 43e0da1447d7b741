"""Values of the neuron measures worked by hand or by scipy."""

import json
import math

import numpy as np
import pytest
from measure_worlds import small_pair
from scipy.stats import combine_pvalues, kstest, spearmanr

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._neurons import LayerTest, combined_log10_p, layer_p, layer_tests
from auditor.panel import NEURON

N = 40


def pair_with(layers):
    """Return a pair with the given columns, {name: (n,) partners}, of each layer."""
    from dataclasses import replace

    parts = []
    for layer, columns in enumerate(layers):
        rows = np.zeros(len(next(iter(columns.values()))), dtype=NEURON)
        rows["layer"], rows["neuron"] = layer, np.arange(len(rows))
        for name, values in columns.items():
            rows[name] = values
        parts.append(rows)
    pair = small_pair(embeddings=(np.ones((1, 1, 2)), np.ones((1, 1, 2))))
    return replace(pair, neurons=np.concatenate(parts))


def shuffled(seed, n=N):
    return np.random.RandomState(seed).permutation(n)


def test_p_is_that_of_a_one_sided_spearman_test():
    gate, up = shuffled(1), shuffled(2)
    pair = pair_with([{"gate": gate, "up": up}])
    expected = spearmanr(gate, up, alternative="greater").pvalue
    assert get("neuron-matching")(pair) == pytest.approx(math.log10(expected), abs=1e-12)
    # Partners in opposite order are no sign of a link.
    opposite = pair_with([{"gate": gate, "up": N - 1 - gate}])
    assert get("neuron-matching")(opposite) == pytest.approx(0.0, abs=1e-9)


def test_layers_combine_as_fisher_says():
    p = [0.2, 0.003, 0.9, 0.04]
    tests = [LayerTest(i, N, value, 0.0) for i, value in enumerate(p)]
    expected = math.log10(combine_pvalues(p, method="fisher").pvalue)
    assert combined_log10_p(tests) == pytest.approx(expected, abs=1e-12)


def test_combination_goes_far_below_the_smallest_float():
    # y = 2 * 300 ln 10; tail = e^-y (1 + y), so log10 = -600 + log10(1 + 1381.55) = -596.859
    tests = [LayerTest(i, N, 1e-300, 1.0) for i in range(2)]
    assert combined_log10_p(tests) == pytest.approx(-596.8593, abs=1e-4)
    assert combined_log10_p([LayerTest(0, N, 1.0, 0.0)]) == 0.0


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("neuron-matching", "gate", "up"),
        ("neuron-order-weights", "neuron", "weight"),
        ("neuron-order-activations", "neuron", "gate"),
    ],
)
def test_each_measure_reads_its_two_columns(name, first, second):
    columns = {"gate": shuffled(3), "up": shuffled(4), "weight": shuffled(5)}
    columns[second] = columns.get(first, np.arange(N))
    pair = pair_with([columns, columns])
    values = {
        one: get(one)(pair)
        for one in ("neuron-matching", "neuron-order-weights", "neuron-order-activations")
    }
    assert values.pop(name) < -500
    assert min(values.values()) > -5


def test_p_of_random_orders_is_uniform():
    pairs = (pair_with([{"weight": shuffled(100 + seed)}]) for seed in range(300))
    p = [layer_tests(pair, "neuron", "weight")[0].p for pair in pairs]
    assert kstest(p, "uniform").pvalue > 0.01


def test_layers_are_told_apart_as_json():
    same, gate = shuffled(6), shuffled(7)
    up = gate.copy()
    up[: N // 2] = gate[: N // 2][::-1]
    found = layer_p(pair_with([{"gate": same, "up": same}, {"gate": gate, "up": up}]))
    assert json.loads(json.dumps(found)) == found
    assert [entry["layer"] for entry in found] == [0, 1]
    assert found[0] == {"layer": 0, "neurons": N, "log10_p": -300.0, "agreed": 1.0}
    assert found[1]["agreed"] == 0.5
    assert -300 < found[1]["log10_p"] < 0


def test_few_neurons_are_undefined():
    few, enough = np.arange(9), np.arange(10)
    with pytest.raises(UndefinedError, match="layer 1 has 9 neurons"):
        get("neuron-matching")(
            pair_with([{"gate": enough, "up": enough}, {"gate": few, "up": few}])
        )


def test_no_layer_is_undefined():
    from dataclasses import replace

    pair = replace(pair_with([{"gate": np.arange(N)}]), neurons=np.zeros(0, dtype=NEURON))
    with pytest.raises(UndefinedError, match="no layer"):
        layer_p(pair)
