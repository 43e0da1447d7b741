import math

import pytest
import torch
from ensemble_world import SHAPES, V, logits_of, module_of, random_tokens, rough_weights

from auditor.controls.ensemble import forward, train
from auditor.controls.ensemble_lessons import Batch, Lessons, Recipe, Teacher, learning_rate
from auditor.controls.ensemble_weights import init_weights
from auditor.errors import InputError, UndefinedError

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
RECIPE = Recipe(steps=12, learning_rate=0.01, clip=0.5)


def lessons(members=3):
    """Batches that follow from the step, other tokens for every member."""

    def batch(step):
        tokens = torch.cat([random_tokens(1, seed=100 * step + member) for member in range(3)])
        return Batch(tokens=tokens[:members])

    return Lessons(batches=batch)


def trained_by_torch(shape, weights, member, recipe):
    """The same recipe with transformers' model and torch's AdamW."""
    module = module_of(shape, weights, member)
    matrices = [p for p in module.parameters() if p.ndim == 2]
    vectors = [p for p in module.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        betas=recipe.betas,
    )
    for step in range(recipe.steps):
        tokens = lessons().batches(step).tokens[member]
        logits = logits_of(module, tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        optimiser.step()
    return module


@shapes
def test_training_equals_torchs_adamw_with_clipping(shape):
    weights = rough_weights(shape)
    run = train(shape, weights, lessons(), RECIPE)
    for member in (0, 2):
        module = trained_by_torch(shape, weights, member, RECIPE)
        for name, parameter in module.state_dict().items():
            if name not in weights:  # a tied head
                continue
            start, end = weights[name][member], run.weights[name][member]
            if name.endswith("c_attn.bias"):
                # Attention does not depend on the keys' bias: its gradient is 0 but for rounding,
                # which Adam blows up.
                start, end, parameter = (
                    part.view(3, -1)[[0, 2]] for part in (start, end, parameter)
                )
            moved = float((parameter - start).abs().max())
            assert moved > 0.01
            # Adam divides by a root, so rounding grows where gradients are small: by up to 7e-3 on
            # some processors.
            assert float((end - parameter).abs().max()) < 2e-2 * moved


@shapes
def test_a_member_does_not_depend_on_its_company(shape):
    weights = init_weights(shape, [5, 6, 7])
    among = train(shape, weights, lessons(), RECIPE)
    first = {name: value[:1] for name, value in weights.items()}
    alone = train(shape, first, lessons(members=1), RECIPE)
    for name, value in alone.weights.items():
        assert float((among.weights[name][0] - value[0]).abs().max()) < 1e-4
    assert torch.allclose(among.losses[:, :1], alone.losses, rtol=1e-5)


def test_clipping_looks_at_one_member_only():
    shape = SHAPES["llama"]
    weights = rough_weights(shape)
    recipe = Recipe(steps=1, learning_rate=0.01, clip=1e-8, weight_decay=0.0)
    loud = {name: value.clone() for name, value in weights.items()}
    loud["lm_head.weight"][1] *= 50.0  # a large gradient in the neighbour
    quiet, noisy = (train(shape, start, lessons(), recipe) for start in (weights, loud))
    moved = quiet.weights["lm_head.weight"][0] - weights["lm_head.weight"][0]
    # At a norm near Adam's epsilon (1e-8) the step shrinks with the gradient.
    assert 0 < float(moved.abs().max()) < 0.009
    for name in weights:
        assert torch.equal(quiet.weights[name][0], noisy.weights[name][0])


def test_the_same_inputs_give_the_same_bits():
    shape = SHAPES["gpt2"]
    weights = init_weights(shape, [1, 2, 3])
    before = {name: value.clone() for name, value in weights.items()}
    one, two = (train(shape, weights, lessons(), RECIPE) for _ in range(2))
    assert torch.equal(one.losses, two.losses)
    assert all(torch.equal(one.weights[name], two.weights[name]) for name in weights)
    assert all(torch.equal(before[name], weights[name]) for name in weights)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_training_learns_a_rule(kind):
    # The next token is this one plus 3: learnable to certainty, log(37) = 3.6 nats before.
    shape = SHAPES[kind]

    def counting(step):
        start = torch.randint(V, (2, 16, 1), generator=torch.Generator().manual_seed(step))
        return Batch(tokens=(start + 3 * torch.arange(10)) % V)

    recipe = Recipe(steps=110, learning_rate=0.02)
    run = train(shape, init_weights(shape, [1, 2]), Lessons(batches=counting), recipe)
    assert run.losses.shape == (110, 2)
    assert float((run.losses[0] - math.log(V)).abs().max()) < 0.05
    assert float(run.losses[-1].max()) < 0.2


def test_imitation_brings_a_member_to_its_teacher():
    shape = SHAPES["llama"]
    teachers = rough_weights(shape, members=2, seed=4)
    guide = Teacher(shape=shape, weights=teachers, of_member=(0, 1))
    everything = torch.ones(2, 24, dtype=torch.bool)
    start = init_weights(shape, [1, 2])

    def batch(step):
        return Batch(tokens=random_tokens(2, seed=step, sequences=24), imitated=everything)

    recipe = Recipe(steps=90, learning_rate=0.03)
    run = train(shape, start, Lessons(batches=batch, teacher=guide), recipe)
    tokens = random_tokens(2, seed=77)
    targets = torch.log_softmax(forward(shape, teachers, tokens)[0], 3)

    def kl(weights, of):
        found = torch.log_softmax(forward(shape, weights, tokens)[0], 3)
        return (targets[of].exp() * (targets[of] - found)).sum(3).mean((1, 2))

    before, after, crossed = kl(start, [0, 1]), kl(run.weights, [0, 1]), kl(run.weights, [1, 0])
    assert bool((after < 0.6 * before).all())
    assert bool((after < 0.5 * crossed).all())  # each its own teacher


def test_the_learning_rate_rises_then_falls_by_a_cosine():
    recipe = Recipe(steps=100, learning_rate=2.0, warmup=0.1, final_rate=0.25)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    # Half of the way down, at step 10 + 45: the mean of 2 and 0.5.
    assert (rates[10], rates[55]) == pytest.approx((2.0, 1.25))
    assert rates[-1] == pytest.approx(0.5, abs=1e-3)
    assert learning_rate(Recipe(steps=1, warmup=0.0), 0) == pytest.approx(3e-3)


def test_progress_is_told_of_every_step():
    class Counter:
        done = 0

        def advance(self, amount=1):
            self.done += amount

    counter = Counter()
    train(SHAPES["llama"], init_weights(SHAPES["llama"], range(3)), lessons(), RECIPE, counter)
    assert counter.done == 12


def test_a_diverged_member_is_named():
    shape = SHAPES["llama"]
    weights = rough_weights(shape)
    weights["lm_head.weight"][1] = float("inf")
    with pytest.raises(UndefinedError, match="member 1 diverged: its loss at step 0 is nan"):
        train(shape, weights, lessons(), RECIPE)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"clip": -1.0},
        {"temperature": 0.0},
        {"warmup": 1.5},
        {"final_rate": -0.1},
        {"weight_decay": -0.1},
        {"weight_decay": float("inf")},
        {"together": 0},
    ],
)
def test_recipes_out_of_range_are_refused(change):
    with pytest.raises(InputError):
        Recipe(**{"steps": 5, **change})
