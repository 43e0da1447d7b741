import math

import pytest
import torch
from ensemble_world import (
    SHAPES,
    SIZES,
    B,
    D,
    E,
    T,
    V,
    logits_of,
    module_of,
    random_tokens,
    rough_weights,
)

from auditor.controls.ensemble import forward
from auditor.controls.ensemble_shape import Shape, config_of
from auditor.controls.ensemble_weights import Flat, init_weights, member_weights, stack_weights
from auditor.errors import InputError
from auditor.models.byte_tokenizer import byte_tokenizer

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@shapes
def test_an_exported_member_computes_what_the_ensemble_computes(shape):
    weights, tokens = rough_weights(shape), random_tokens(length=T)
    logits, hidden = forward(shape, weights, tokens)
    assert (logits.shape, hidden.shape) == ((E, B, T, V), (E, B, T, D))
    for member in range(E):
        module = module_of(shape, weights, member)
        with torch.no_grad():
            expected = logits_of(module, tokens[member])
            states = module.base_model(tokens[member], use_cache=False).last_hidden_state
        assert float((logits[member] - expected).abs().max()) < 1e-5
        assert float((hidden[member] - states).abs().max()) < 1e-5


@shapes
def test_names_and_sizes_are_those_of_transformers(shape):
    state = module_of(shape, init_weights(shape, [0]), 0).state_dict()
    exported = member_weights(shape, init_weights(shape, [0]), 0)
    assert {name: value.shape for name, value in exported.items()} == {
        name: value.shape for name, value in state.items()
    }
    unique = {value.data_ptr(): value.numel() for value in state.values()}
    assert shape.parameters() == sum(unique.values())


@shapes
def test_stacked_members_come_back_unchanged(shape):
    weights = rough_weights(shape)
    again = stack_weights(shape, [member_weights(shape, weights, e) for e in range(E)])
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


@shapes
def test_a_flat_table_holds_every_weight_once(shape):
    weights = rough_weights(shape)
    flat = Flat.of(shape, weights)
    assert all(torch.equal(value, weights[name]) for name, value in flat.stacked().items())
    # The rest of a row is padding, so its sum is that of the weights.
    total = sum(value.double().sum(dim=tuple(range(1, value.ndim))) for value in weights.values())
    assert torch.allclose(flat.table.double().sum(1), total)
    vectors = sum(math.prod(size) for size in shape.tensors().values() if len(size) == 1)
    assert int(flat.decayed().sum()) == shape.parameters() - vectors


@shapes
def test_a_member_starts_from_its_own_seed_alone(shape):
    alone, among = init_weights(shape, [7]), init_weights(shape, [3, 7])
    assert all(torch.equal(alone[name][0], among[name][1]) for name in alone)
    assert not torch.equal(among[shape.embedding][0], among[shape.embedding][1])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_weights_start_with_the_law_of_transformers(kind):
    wide = {**SIZES, "vocabulary": 300, "hidden": 60, "intermediate": 90}
    shape = Shape(architecture=kind, tied=kind == "gpt2", **wide)
    drawn = init_weights(shape, [1])
    torch.manual_seed(0)
    theirs = {
        name: value.detach()
        for name, value in type(module_of(shape, drawn, 0))(config_of(shape)).named_parameters()
    }
    assert theirs.keys() == drawn.keys()
    for name, value in drawn.items():
        if value.ndim == 2:  # a norm or a bias: (1, size)
            assert torch.equal(value[0], theirs[name])
        else:
            # The relative standard error of each of two deviations is 1 / sqrt(2 n), n >= 3,600.
            ratio = float(value.std() / theirs[name].std())
            assert abs(ratio - 1) < 6 / math.sqrt(theirs[name].numel()), name


def test_a_configuration_takes_its_special_tokens_from_the_tokenizer():
    tokenizer = byte_tokenizer()
    for shape in SHAPES.values():
        config = config_of(shape, tokenizer)
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (256, 257, 258)
        assert config.vocab_size == V


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"heads": 5}, "5 heads do not divide hidden = 12"),
        ({"heads": 4}, "head of 3 numbers is odd"),
        ({"architecture": "gpt2"}, "ties its head"),
        ({"architecture": "bert"}, "'bert'"),
    ],
)
def test_a_shape_that_no_model_has_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Shape(**{"architecture": "llama", **SIZES, **change})


def test_state_dicts_of_another_shape_are_refused():
    shape = SHAPES["llama"]
    good = member_weights(shape, rough_weights(shape), 0)
    name = "model.norm.weight"
    for bad, message in (
        ({**good, "extra": good[name]}, "member 1 and its shape differ in extra"),
        ({k: v for k, v in good.items() if k != name}, f"differ in {name}"),
        ({**good, name: good[name][:-1]}, r"is \(11,\), the shape says \(12,\)"),
        ({**good, name: good[name] * float("nan")}, "NaN or infinity"),
    ):
        with pytest.raises(InputError, match=message):
            stack_weights(shape, [good, bad])
    with pytest.raises(InputError, match="at least one member"):
        stack_weights(shape, [])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 1, 3, dtype=torch.int64), "3 members"),
        (torch.zeros(3, 3, dtype=torch.int64), "3 members"),
        (torch.zeros(3, 1, 12, dtype=torch.int64), "12 tokens do not fit 11 positions"),
        (torch.full((3, 1, 3), 37), r"token 37 is not in 0\.\.36"),
        (torch.full((3, 1, 3), -1), "token -1 is not in"),
    ],
)
def test_tokens_that_the_members_cannot_read_are_refused(tokens, message):
    shape = SHAPES["llama"]
    with pytest.raises(InputError, match=message):
        forward(shape, init_weights(shape, range(3)), tokens)
