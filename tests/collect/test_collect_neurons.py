"""Neuron partners of real tiny models: copies are found, independent models are not."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest
from weights_world import (
    LAYERS,
    NEURONS,
    WIDTH,
    gained,
    gpt2,
    llama,
    logits,
    negated,
    pair_of_sides,
    permuted,
    rotated,
    sides_of,
)

from auditor.collect import neurons
from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._neurons import layer_p, layer_tests

TINY = 1e-15
MATCH, ORDER = ("gate", "up"), ("neuron", "weight")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Return the sides of a Llama and a GPT-2, and how to get those of others."""
    root = tmp_path_factory.mktemp("sides")
    modules = SimpleNamespace(llama=gained(llama(0)), gpt2=gpt2(0))
    return SimpleNamespace(
        root=root,
        modules=modules,
        llama=sides_of(modules.llama, root),
        gpt2=sides_of(modules.gpt2, root),
    )


def p_values(worlds, ours: str, module, columns) -> list[float]:
    pair = pair_of_sides(
        getattr(worlds, ours), sides_of(module, worlds.root), gated=ours == "llama"
    )
    return [test.p for test in layer_tests(pair, *columns)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_copy_matches_and_keeps_the_order_in_every_layer(worlds, kind):
    module = copy.deepcopy(getattr(worlds.modules, kind))
    for columns in (MATCH, ORDER, ("neuron", "gate")):
        assert max(p_values(worlds, kind, module, columns)) < TINY


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_permuted_copy_matches_in_another_order(worlds, kind):
    module = permuted(getattr(worlds.modules, kind))
    torch.testing.assert_close(logits(module), logits(getattr(worlds.modules, kind)))
    assert max(p_values(worlds, kind, module, MATCH)) < TINY
    assert min(p_values(worlds, kind, module, ORDER)) > 1e-3
    assert min(p_values(worlds, kind, module, ("neuron", "gate"))) > 1e-3


def test_rotated_copy_matches_and_its_weights_do_not(worlds):
    module = rotated(worlds.modules.llama)
    torch.testing.assert_close(logits(module), logits(worlds.modules.llama), atol=1e-3, rtol=1e-3)
    assert max(p_values(worlds, "llama", module, MATCH)) < TINY
    assert min(p_values(worlds, "llama", module, ORDER)) > 1e-3
    assert max(p_values(worlds, "llama", module, ("neuron", "gate"))) < TINY


def test_copy_with_negated_neurons_matches(worlds):
    module = negated(worlds.modules.llama)
    torch.testing.assert_close(logits(module), logits(worlds.modules.llama))
    assert max(p_values(worlds, "llama", module, MATCH)) < TINY
    assert max(p_values(worlds, "llama", module, ORDER)) < TINY


@pytest.mark.parametrize(("kind", "bits"), [("llama", 4), ("gpt2", 7)])
def test_rounded_copy_matches(worlds, kind, bits):
    module = copy.deepcopy(getattr(worlds.modules, kind))
    with torch.no_grad():
        for weight in (one for one in module.parameters() if one.ndim == 2):
            step = weight.abs().max() / 2 ** (bits - 1)
            weight.copy_((weight / step).round() * step)
    assert max(p_values(worlds, kind, module, MATCH)) < 1e-4


def test_partial_copy_shows_in_the_copied_layer_alone(worlds):
    module = llama(1)
    module.model.load_state_dict(
        {
            name: weight
            for name, weight in worlds.modules.llama.model.state_dict().items()
            if not name.startswith("layers.1.")
        },
        strict=False,
    )
    pair = pair_of_sides(worlds.llama, sides_of(module, worlds.root))
    first, second = layer_p(pair)
    assert (first["layer"], second["layer"]) == (0, 1)
    assert first["neurons"] == NEURONS
    assert first["log10_p"] < -15
    assert first["agreed"] == 1.0
    assert second["log10_p"] > -2
    assert second["agreed"] < 0.2


@pytest.fixture(scope="module")
def independent(worlds):
    """Return the p-values of 63 pairs of random models, each a fresh suspect of one of three."""
    references = [worlds.llama, *(sides_of(llama(900 + i), worlds.root) for i in range(2))]
    found = {MATCH: [], ORDER: [], ("neuron", "gate"): []}
    for seed in range(21):
        theirs = sides_of(llama(1000 + seed), worlds.root)
        for ours in references:
            pair = pair_of_sides(ours, theirs)
            for columns, values in found.items():
                values += [test.p for test in layer_tests(pair, *columns)]
    return {columns: np.array(values) for columns, values in found.items()}


@pytest.mark.parametrize("columns", [MATCH, ORDER, ("neuron", "gate")], ids="/".join)
def test_p_of_independent_models_is_uniform(independent, columns):
    p = independent[columns]
    assert len(p) == 63 * LAYERS
    assert kstest(p, "uniform").pvalue > 0.01
    low, high = binom.interval(0.95, len(p), 0.05)
    assert low <= (p < 0.05).sum() <= high


def test_p_of_independent_plain_models_is_uniform(worlds):
    sides = [sides_of(gpt2(40 + seed), worlds.root) for seed in range(12)]
    p = np.array(
        [
            test.p
            for i, ours in enumerate(sides)
            for theirs in sides[:i]
            for test in layer_tests(pair_of_sides(ours, theirs, gated=False), *MATCH)
        ]
    )
    assert len(p) == 66 * LAYERS
    assert kstest(p, "uniform").pvalue > 0.01
    low, high = binom.interval(0.95, len(p), 0.05)
    assert low <= (p < 0.05).sum() <= high


def test_silent_neurons_do_not_look_like_a_copy(worlds):
    # All their cosines are 0: paired in their order they would agree on both sides.
    ours, theirs = (copy.deepcopy(llama(seed)) for seed in (50, 51))
    for module in (ours, theirs):
        with torch.no_grad():
            for layer in module.model.layers:
                layer.mlp.gate_proj.weight[8:].zero_()
                layer.mlp.up_proj.weight[8:].zero_()
    pair = pair_of_sides(sides_of(ours, worlds.root), sides_of(theirs, worlds.root))
    assert min(test.p for test in layer_tests(pair, *MATCH)) > 1e-3
    assert min(test.p for test in layer_tests(pair, *ORDER)) > 1e-3


def test_wide_layer_is_compared_by_its_most_varied_neurons(worlds, monkeypatch):
    monkeypatch.setattr(neurons, "WIDEST", 20)
    module = worlds.modules.llama
    ours = sides_of(module, worlds.root)
    assert [len(layer.neuron) for layer in ours] == [20] * LAYERS
    # The order of the copy's neurons does not change which ones are taken.
    theirs = sides_of(permuted(module), worlds.root)
    assert all(layer["agreed"] == 1.0 for layer in layer_p(pair_of_sides(ours, theirs)))
    spread = worlds.llama[0].gate.var(axis=1)
    assert set(ours[0].neuron) == set(np.argsort(-spread)[:20])


def test_written_logits_are_the_direct_effect_of_a_neuron(worlds):
    module = worlds.modules.gpt2
    with torch.no_grad():
        module.transformer.ln_f.weight.copy_(torch.linspace(0.5, 1.5, WIDTH))
    layer = sides_of(module, worlds.root)[1]
    written = module.transformer.h[1].mlp.c_proj.weight[3].double()  # Conv1D: (neurons, width)
    effect = module.lm_head.weight.double() @ (
        (written - written.mean()) * module.transformer.ln_f.weight.double()
    )
    np.testing.assert_allclose(layer.up[3], effect.detach().numpy(), rtol=1e-12)


def test_nan_weights_and_activations_are_refused(worlds):
    module = copy.deepcopy(worlds.modules.llama)
    with torch.no_grad():
        module.model.layers[1].mlp.up_proj.weight[2, 3] = float("nan")
    with pytest.raises(UndefinedError, match="layer 1 holds NaN"):
        sides_of(module, worlds.root)


def test_measures_combine_the_layers(worlds):
    pair = pair_of_sides(worlds.llama, sides_of(permuted(worlds.modules.llama), worlds.root))
    assert get("neuron-matching")(pair) < -30
    assert get("neuron-order-weights")(pair) > -4
    assert get("neuron-order-activations")(pair) > -4
