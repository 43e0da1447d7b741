"""Every deterministic transform of a model is recognised as one, and nothing else is."""

import numpy as np
import pytest
import torch
from merge_trials import InMemory, llama, tuned

from auditor.collect.forms import COPY, Form, as_stored, count
from auditor.collect.merging import Candidate, Rearranged, align_candidates
from auditor.collect.rederivation import Partner, rederive
from auditor.collect.unrotation import unrotated
from auditor.controls.transforms_compression import narrowed, pruned, quantised
from auditor.controls.transforms_merging import Merge, merged
from auditor.controls.transforms_symmetry import fully_permuted, permuted
from auditor.controls.transforms_weights import weights_of, with_weights
from auditor.models.anatomy import anatomy_of


@pytest.fixture(scope="module")
def models():
    """A reference and two models that share nothing with it but the shape."""
    return [jittered(llama(seed, width=64, layers=1), seed) for seed in (1, 2, 3)]


def jittered(module, seed):
    """Return the model with norms as trained ones have them: not all ones."""
    random = torch.Generator().manual_seed(70 + seed)
    weights = {
        name: value + 0.05 * torch.randn(value.shape, generator=random) * (value.ndim == 1)
        for name, value in weights_of(module).items()
    }
    return with_weights(module, weights)


def rederived(suspect, reference, *others):
    """Return ({transform: (tensors equal, tensors, share of elements)}, the largest share)."""
    partners = [Partner(5 + i, InMemory(one)) for i, one in enumerate(others)]
    found = rederive(InMemory(suspect), InMemory(reference), partners)
    rows = {
        (row["transform"], int(row["partner"])): (
            int(row["tensors_equal"]),
            int(row["tensors"]),
            int(row["elements_equal"]) / int(row["elements"]),
        )
        for row in found.rows()
    }
    return rows, found.best


TRANSFORMS = {
    "copy": lambda module: module,
    "float16": lambda module: narrowed(module).float(),
    "bfloat16": lambda module: narrowed(module, "bfloat16").float(),
    "int8": lambda module: quantised(module, 8),
    "int4": lambda module: quantised(module, 4),
    "int2": lambda module: quantised(module, 2),
    "pruned": lambda module: pruned(module, 0.5),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_a_deterministic_transform_is_rederived_to_the_last_bit(models, name, stored):
    suspect = TRANSFORMS[name](models[0]).to(stored)
    rows, best = rederived(suspect, models[0])
    models[0].float()
    tensors = len(weights_of(models[0]))
    assert rows[name, -1] == (tensors, tensors, 1.0)
    assert best == 1.0


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1"])
def test_a_round_trip_through_gguf_blocks_is_rederived(models, name):
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[name]

    def block(weight):
        packed = gguf.quantize(weight.numpy(), kind)
        return torch.from_numpy(np.array(gguf.dequantize(packed, kind)))

    weights = {n: block(w) if w.ndim == 2 else w for n, w in weights_of(models[0]).items()}
    rows, _ = rederived(with_weights(models[0], weights), models[0])
    assert rows[name, -1][2] == 1.0


def test_each_tensor_may_have_been_packed_in_its_own_way(models):
    weights = weights_of(models[0])
    for index, name in enumerate(sorted(weights)):
        if weights[name].ndim == 2:
            part = TRANSFORMS["int8" if index % 2 else "int4"](models[0])
            weights[name] = weights_of(part)[name]
    rows, best = rederived(with_weights(models[0], weights), models[0])
    assert best == rows["by-tensor", -1][2] == 1.0
    assert max(rows["int8", -1][2], rows["int4", -1][2]) < 0.9


def test_any_mask_of_the_references_weights_is_rederived(models):
    random = torch.Generator().manual_seed(3)
    weights = {
        name: value * (torch.rand(value.shape, generator=random) < 0.7)
        for name, value in weights_of(models[0]).items()
    }
    rows, best = rederived(with_weights(models[0], weights), models[0])
    # Vectors were thinned too, but masks are looked for in matrices: 64 elements each are missed.
    assert rows["masked", -1][2] == best > 0.99
    assert rows["pruned", -1][2] < 0.8


@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.125, 0.875), (0.5, 0.75)])
def test_a_linear_merge_with_a_named_parent_is_rederived(models, shares):
    suspect = merged(models[:2], Merge(weights=shares))
    rows, best = rederived(suspect, models[0], models[2], models[1])
    assert rows["merged", 6][2] == best == 1.0
    assert ("merged", 5) not in rows


def test_a_merge_by_interpolation_with_an_odd_share_is_rederived(models):
    a, b = weights_of(models[0]), weights_of(models[1])
    weights = {name: a[name] + (b[name] - a[name]) * 0.3271 for name in a}
    rows, _ = rederived(with_weights(models[0], weights), models[0], models[1])
    assert rows["merged", 5][2] == 1.0


def test_the_other_parent_alone_is_no_merge_with_the_reference(models):
    for suspect in (models[1], quantised(models[1], 8)):
        rows, best = rederived(suspect, models[0], models[1])
        assert best == 0.0
        assert ("merged", 5) not in rows


def test_independent_models_share_no_bit(models):
    for other in models[1:]:
        for form in (lambda m: m, *TRANSFORMS.values()):
            assert rederived(form(other), models[0])[1] == 0.0


def test_models_that_were_never_trained_share_no_bit():
    # Norms of ones and biases of zeros are equal in any two models, and must not count.
    assert rederived(llama(1), llama(2))[1] == 0.0
    matrices = [value for value in weights_of(llama(1)).values() if value.ndim == 2]
    found = rederive(InMemory(llama(1)), InMemory(llama(2)))
    assert found.tensors == len(matrices)


def test_independent_models_in_two_bytes_share_no_bit(models):
    # Two of 600 frequent numbers of bfloat16 are equal once in a thousand: chance, not a copy.
    a, b = (narrowed(module, "bfloat16") for module in models[:2])
    assert rederived(a, b)[1] < 1e-4


def test_a_fine_tune_is_rederived_below_one_percent(models):
    assert rederived(tuned(models[0], 0.01, 4), models[0])[1] < 0.01


def test_layers_taken_over_unchanged_are_counted(models):
    weights = weights_of(tuned(models[0], 0.05, 4))
    kept = {name: value for name, value in weights_of(models[0]).items() if "layers.0." in name}
    _, best = rederived(with_weights(models[0], {**weights, **kept}), models[0])
    total = sum(value.numel() for value in weights.values())
    assert best == pytest.approx(sum(value.numel() for value in kept.values()) / total, abs=1e-3)


@pytest.mark.parametrize("form", ["copy", "int4", "pruned"])
def test_a_permuted_copy_is_rederived_after_its_units_are_put_back(models, form):
    suspect = permuted(TRANSFORMS[form](models[0]), "all", 3)
    assert rederived(suspect, models[0])[1] < 0.05
    files, reference = InMemory(suspect), InMemory(models[0])
    anatomy = anatomy_of(files.shapes, suspect.config.to_dict())
    order = align_candidates(files, [Candidate(0, "r", reference)], anatomy).order
    assert order.changes
    assert rederive(files, Rearranged(reference, anatomy, order)).best == 1.0


def test_other_shapes_are_missed_and_counted(models):
    wide = llama(1, width=48)
    found = rederive(InMemory(wide), InMemory(models[0]))
    assert found.best == 0.0
    assert found.elements > 0


def test_a_head_of_its_own_is_compared_with_the_embedding(models):
    suspect = InMemory(models[0])
    suspect._weights["lm_head.weight"] = suspect._weights["embed_tokens.weight"]
    tied = InMemory(models[0])
    del tied.shapes["lm_head.weight"]
    assert rederive(suspect, tied).best == 1.0


def test_few_equal_elements_are_chance():
    theirs = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    source = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    source[0, :40] = theirs[0, :40]  # 40 of 4096 are just below 1 %
    assert count(as_stored(theirs), source, COPY, 0.01).equal == 0
    source[0, :42] = theirs[0, :42]
    assert count(as_stored(theirs), source, COPY, 0.01).equal == 42
    assert count(as_stored(theirs), theirs, Form("x", lambda weight: weight), 0.01).whole


def test_a_copy_in_one_byte_is_rederived(models):
    class Bytes(InMemory):
        def read(self, name):
            return super().read(name).to(torch.float8_e4m3fn)

    assert rederive(Bytes(models[0]), InMemory(models[0])).best == 1.0
    # One in twenty numbers of 8 bits agrees by chance; that is below what counts.
    assert rederive(Bytes(models[0]), InMemory(models[1])).best == 0.0


@pytest.mark.parametrize("tied", [True, False])
def test_a_rotated_copy_is_rederived_but_for_rounding_boundaries(tied):
    reference = jittered(llama(4, width=64, layers=1), 4)
    if tied:
        reference = tied_copy(reference)
    suspect = fully_permuted(reference, 3)
    ours, theirs = InMemory(suspect), InMemory(reference)
    anatomies = [anatomy_of(one.shapes, suspect.config.to_dict()) for one in (ours, theirs)]
    assert rederive(ours, theirs).best == 0.0
    turned = unrotated(ours, theirs, *anatomies)
    assert rederive(ours, turned).best > 0.8
    other = InMemory(jittered(llama(5, width=64, layers=1), 5))
    assert unrotated(ours, other, anatomies[0], anatomies[0]) is None
    assert unrotated(theirs, theirs, anatomies[1], anatomies[1]) is None


def tied_copy(module):
    """Return the model with its head tied to its embedding."""
    from auditor.controls.transforms_weights import fresh_module

    weights = {n: w for n, w in weights_of(module).items() if n != "lm_head.weight"}
    return with_weights(fresh_module(module, tie_word_embeddings=True), weights)
