"""The hand-written gradients against torch's, through the models of transformers."""

import dataclasses

import pytest
import torch
from ensemble_world import SHAPES, V, logits_of, module_of, random_tokens, rough_weights

from auditor.controls import ensemble_blocks, ensemble_loss
from auditor.controls.ensemble_lessons import Batch, Recipe, Teacher
from auditor.controls.ensemble_step import Step
from auditor.controls.ensemble_weights import Flat, member_count
from auditor.errors import InputError, VocabularyError
from auditor.kernels import distillation_loss

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
# Both compute in float32; a gradient is compared with the largest number of its tensor.
TOLERANCE = 2e-5


def step_of(shape, weights, *, teacher=None, together=None, temperature=1.0):
    recipe = Recipe(steps=1, together=together, temperature=temperature)
    into = Flat.zeros(shape, member_count(weights))
    into.table.fill_(7.0)  # what is not written shows
    return Step(Flat.of(shape, weights), into, recipe, teacher), into


def assert_gradients(module, into, member, factor=1.0):
    for name, parameter in module.named_parameters():
        found, expected = into.view(name)[member], parameter.grad * factor
        assert float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def assert_same_table(shape, found, expected):
    size = shape.parameters()  # the rest is padding
    difference = (found.table - expected.table)[:, :size].abs().max()
    assert float(difference) < 1e-5 * float(expected.table[:, :size].abs().max())


def cross_entropy(module, tokens, scored=None):
    logits = logits_of(module, tokens[:, :-1])
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    return losses.mean() if scored is None else losses[scored.flatten()].mean()


@shapes
@pytest.mark.parametrize("together", [1, 2, 3])
def test_gradients_of_next_token_losses_are_autograds(shape, together):
    weights, tokens = rough_weights(shape), random_tokens()
    step, into = step_of(shape, weights, together=together)
    losses = step.gradients(Batch(tokens=tokens))
    for member in range(len(tokens)):
        module = module_of(shape, weights, member)
        loss = cross_entropy(module, tokens[member])
        loss.backward()
        assert float(losses[member]) == pytest.approx(float(loss.detach()), rel=1e-5)
        assert_gradients(module, into, member)


@shapes
def test_small_chunks_change_nothing(shape, monkeypatch):
    weights, batch = rough_weights(shape), Batch(tokens=random_tokens())
    whole, expected = step_of(shape, weights)
    losses = whole.gradients(batch)
    # 5 columns of logits, then 7 matrices of scores (of 36 and 12), a remainder each.
    monkeypatch.setitem(ensemble_loss._CHUNK_BYTES, "cpu", 5 * 4 * V)
    monkeypatch.setitem(ensemble_blocks._SCRATCH_BYTES, "cpu", 7 * 4 * 81)
    parts, found = step_of(shape, weights, together=1)
    assert torch.allclose(parts.gradients(batch), losses, rtol=1e-5)
    assert_same_table(shape, found, expected)


def test_unscored_predictions_have_no_part():
    shape = SHAPES["gpt2"]
    weights, tokens = rough_weights(shape), random_tokens()
    scored = torch.rand(tokens[:, :, 1:].shape, generator=torch.Generator().manual_seed(3)) < 0.6
    step, into = step_of(shape, weights)
    losses = step.gradients(Batch(tokens=tokens, scored=scored))
    module = module_of(shape, weights, 1)
    loss = cross_entropy(module, tokens[1], scored[1])
    loss.backward()
    assert float(losses[1]) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert_gradients(module, into, 1)


def imitation(student, teacher, tokens, temperature):
    """tau^2 KL(teacher || student), summed over positions, by the audited kernels."""
    identity = torch.eye(V)
    with torch.no_grad():
        target = logits_of(teacher, tokens[:, :-1]).flatten(0, 1)
    loss = distillation_loss(
        logits_of(student, tokens[:, :-1]).flatten(0, 1),
        identity,
        target,
        identity,
        divergence="forward-kl",
        temperature=temperature,
    )
    return loss.total * temperature**2


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_each_member_imitates_its_own_teacher_on_its_own_sequences(kind, temperature):
    shape, other = SHAPES[kind], SHAPES["gpt2" if kind == "llama" else "llama-tied"]
    weights, tokens = rough_weights(shape), random_tokens()
    teachers = rough_weights(other, members=2, seed=9)
    imitated = torch.zeros(3, 4, dtype=torch.bool)
    imitated[0, [1, 3]] = True  # a dose of one half, not in front
    imitated[2] = True
    step, into = step_of(
        shape,
        weights,
        teacher=Teacher(shape=other, weights=teachers, of_member=(1, 0, 0)),
        together=2,
        temperature=temperature,
    )
    losses = step.gradients(Batch(tokens=tokens, imitated=imitated))
    for member, teacher in enumerate((1, 0, 0)):
        module, chosen = module_of(shape, weights, member), imitated[member]
        positions = tokens.shape[1] * (tokens.shape[2] - 1)
        loss = torch.zeros(())
        if bool(chosen.any()):
            guide = module_of(other, teachers, teacher)
            loss = loss + imitation(module, guide, tokens[member, chosen], temperature)
        if not bool(chosen.all()):
            free = tokens[member, ~chosen]
            loss = loss + cross_entropy(module, free) * free[:, 1:].numel()
        (loss / positions).backward()
        assert float(losses[member]) == pytest.approx(float(loss.detach()) / positions, rel=1e-4)
        assert_gradients(module, into, member)


def test_unscored_predictions_are_not_imitated_either():
    shape = SHAPES["llama"]
    weights, tokens = rough_weights(shape), random_tokens()
    teacher = Teacher(shape=shape, weights=rough_weights(shape, members=1, seed=5))
    everything = torch.ones(3, 4, dtype=torch.bool)
    scored = torch.ones(3, 4, tokens.shape[2] - 1, dtype=torch.bool)
    scored[:, 1:] = False
    step, into = step_of(shape, weights, teacher=teacher)
    losses = step.gradients(Batch(tokens=tokens, imitated=everything, scored=scored))
    first, expected = step_of(shape, weights, teacher=teacher)
    alone = first.gradients(Batch(tokens=tokens[:, :1], imitated=everything[:, :1]))
    assert torch.allclose(losses, alone, rtol=1e-5)
    assert_same_table(shape, into, expected)


def test_improbable_tokens_have_a_finite_loss():
    shape = SHAPES["llama"]
    weights, tokens = rough_weights(shape), random_tokens()
    weights["lm_head.weight"] *= 400.0  # probabilities below the smallest float32
    step, into = step_of(shape, weights)
    losses = step.gradients(Batch(tokens=tokens))
    loss = cross_entropy(module_of(shape, weights, 0), tokens[0])
    assert float(losses[0]) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert float(losses[0]) > 104  # -log of the smallest positive float32
    assert bool(torch.isfinite(into.table).all())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch(tokens=torch.zeros(3, 4, 1, dtype=torch.int64)), r"T \+ 1\), found \(3, 4, 1\)"),
        (Batch(tokens=torch.zeros(2, 4, 5, dtype=torch.int64)), "3 members"),
        (Batch(tokens=torch.full((3, 4, 5), V)), "token 37 is not in"),
        (Batch(tokens=torch.zeros(3, 4, 13, dtype=torch.int64)), "12 tokens do not fit"),
        (
            Batch(tokens=random_tokens(), imitated=torch.ones(3, 4, dtype=torch.bool)),
            "there is no teacher",
        ),
        (Batch(tokens=random_tokens(), imitated=torch.ones(3, dtype=torch.bool)), "imitated must"),
        (Batch(tokens=random_tokens(), scored=torch.ones(3, 4, dtype=torch.bool)), "scored must"),
        (
            Batch(tokens=random_tokens(), scored=torch.zeros(3, 4, 9, dtype=torch.bool)),
            "no scored token",
        ),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch, message):
    step, _ = step_of(SHAPES["llama"], rough_weights(SHAPES["llama"]))
    with pytest.raises(InputError, match=message):
        step.gradients(batch)


def test_teachers_that_do_not_fit_are_refused():
    shape = SHAPES["llama"]
    weights = rough_weights(shape)
    one = rough_weights(shape, members=1)
    for of_member in ((0, 0), (0, 0, 1)):
        teacher = Teacher(shape=shape, weights=one, of_member=of_member)
        with pytest.raises(InputError, match="does not give each of 3 members one of 1 teachers"):
            step_of(shape, weights, teacher=teacher)
    larger = dataclasses.replace(shape, vocabulary=38)
    with pytest.raises(VocabularyError, match="38 token ids, the members 37"):
        step_of(shape, weights, teacher=Teacher(shape=larger, weights=rough_weights(larger)))
