import pytest
import torch
from distill_world import random_sequences
from safetensors.torch import load_file
from transformers import GPT2Config, LlamaConfig

from auditor.distill.batches import MicroBatches, padded_batch, plan_steps
from auditor.distill.hidden import ATTACHED, HiddenMatch, attached, uniform_pairs
from auditor.distill.matching import MatchedObjective, Term
from auditor.distill.objective import Objective, Teacher, scored_states
from auditor.distill.recipe_method import Method
from auditor.distill.recipe_train import Train
from auditor.distill.student import module_from
from auditor.distill.trainer import StudentTrainer, training_arguments
from auditor.errors import AccessError, InputError
from auditor.models.unembedding import head_of

V = 11


def tiny(seed, *, hidden=8, layers=2, kind="llama"):
    """A float64 model of 11 tokens; no layers share weights with another model's."""
    torch.manual_seed(seed)
    if kind == "gpt2":
        drops = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
        config = GPT2Config(n_embd=hidden, n_layer=layers, n_head=2, vocab_size=V, **drops)
    else:
        sizes = {"hidden_size": hidden, "intermediate_size": 12, "num_hidden_layers": layers}
        config = LlamaConfig(**sizes, num_attention_heads=2, vocab_size=V)
    module = module_from(config).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


@pytest.fixture(scope="module")
def teacher():
    module = tiny(2, hidden=12, layers=4).eval().requires_grad_(False)
    return Teacher(module=module, head=head_of(module, V))


@pytest.fixture
def batch():
    return padded_batch(random_sequences([5, 3, 6], vocabulary=V), [0, 1, 2])


def nothing(module, batch):
    return scored_states(module, batch).sum() * 0.0


def objective(match, teacher, base=nothing, weight=1.0):
    return MatchedObjective(base, teacher, [Term(match=match, weight=weight)])


def plain(module, batch, layer):
    """(N, D) what a layer returns at the scored positions, from the module's own list.

    The last entry of that list has gone through the last norm: ask for earlier ones.
    """
    states = module(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        output_hidden_states=True,
    ).hidden_states
    return states[layer][batch["scored"]]


def normed(states):
    centred = states - states.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def by_hand(match, distance, student, teacher, batch):
    sums = []
    for (i, j), layer in zip(match.pairs, match.projections, strict=True):
        mine, theirs = plain(student, batch, i) @ layer.weight.T, plain(teacher, batch, j)
        if distance == "mse":
            sums.append((normed(mine) - normed(theirs)).square().mean(-1).sum())
        else:
            products = (mine * normed(theirs)).sum(-1)
            sums.append((1 - products / mine.norm(dim=-1) / normed(theirs).norm(dim=-1)).sum())
    return sum(sums) / len(sums)


def gradients(student, match, loss):
    parameters = [*student.parameters(), *match.projections.parameters()]
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_value_and_gradients_are_those_of_the_formula(distance, kind, teacher, batch):
    student = tiny(1, layers=3, kind=kind)
    pairs = [(1, 3), (2, 1)]
    match = HiddenMatch(student, teacher.module, pairs=pairs, distance=distance, seed=5)
    loss = objective(match, teacher)(student, batch)
    expected = by_hand(match, distance, student, teacher.module, batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    ours = gradients(student, match, loss)
    for found, wanted in zip(ours, gradients(student, match, expected), strict=True):
        # transformers takes llama's norms in float32.
        assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert ours[-1].abs().max() > 0


def test_last_layer_is_matched_before_the_last_norm(teacher, batch):
    twin = tiny(2, hidden=12, layers=4)
    match = HiddenMatch(twin, teacher.module, pairs=[(4, 4)], distance="cosine")
    with torch.no_grad():
        twin.model.norm.weight.mul_(torch.arange(1.0, 13.0))  # would change what comes after it
    loss = objective(match, teacher)(twin, batch)
    states = []
    hook = teacher.module.model.norm.register_forward_pre_hook(
        lambda _, given: states.append(given[0][batch["scored"]])
    )
    plain(teacher.module, batch, 1)
    hook.remove()
    # Equal widths start from the identity: what is left is the centring of the teacher's side.
    expected = 1 - torch.nn.functional.cosine_similarity(states[0], normed(states[0]), dim=-1)
    assert loss.item() == pytest.approx(expected.sum().item(), abs=1e-9)


def test_twin_of_the_teacher_is_no_distance_away(teacher, batch):
    twin = tiny(2, hidden=12, layers=4)
    match = HiddenMatch(twin, teacher.module, distance="mse")
    assert objective(match, teacher)(twin, batch).item() == pytest.approx(0.0, abs=1e-20)


def test_weighted_match_is_added_to_a_loss_that_asks_the_teacher_once(teacher, batch):
    student = tiny(1)
    base = Objective(Method(kind="logits"), head_of(student, V), teacher)
    match = HiddenMatch(student, teacher.module)
    calls = []
    hook = teacher.module.model.register_forward_hook(lambda *_: calls.append(1))
    both = objective(match, teacher, base, 0.25)(student, batch).item()
    assert len(calls) == 1
    hook.remove()
    alone = objective(match, teacher)(student, batch).item()
    assert both == pytest.approx(base(student, batch).item() + 0.25 * alone, rel=1e-9)
    assert not student.model.layers[0]._forward_hooks


def test_split_into_micro_batches_and_side_of_padding_change_nothing(teacher):
    store = random_sequences([5, 3, 6], vocabulary=V)
    student = tiny(1)
    chosen = objective(HiddenMatch(student, teacher.module), teacher)
    whole = padded_batch(store, [0, 1, 2])
    parts = sum(chosen(student, padded_batch(store, [n])).item() for n in range(3))
    assert chosen(student, whole).item() == pytest.approx(parts, rel=1e-9)
    left = dict(whole)
    for row, length in enumerate((5, 3, 6)):
        for name in whole:
            left[name] = left[name].clone()
            left[name][row] = whole[name][row].roll(6 - length)
    # Rotary attention knows distances alone, so moved rows have the same states.
    assert chosen(student, left).item() == pytest.approx(parts, rel=1e-6)


def test_nothing_scored_costs_nothing_and_keeps_a_gradient_path(teacher, batch):
    student = tiny(1)
    batch["scored"][:] = False
    match = HiddenMatch(student, teacher.module)
    loss = objective(match, teacher)(student, batch)
    assert loss.item() == 0
    assert loss.requires_grad
    assert all(g.abs().max() == 0 for g in gradients(student, match, loss))


def test_uniform_map_keeps_shares_of_depth_and_the_last_layer():
    assert uniform_pairs(3, 12) == ((1, 4), (2, 8), (3, 12))
    # 1 * 5 / 2 = 2.5 rounds up.
    assert uniform_pairs(2, 5) == ((1, 3), (2, 5))
    assert uniform_pairs(4, 1) == ((1, 1), (2, 1), (3, 1), (4, 1))


def trained(folder, teacher, *, resume=None):
    student = tiny(1).float()
    store = random_sequences([5, 3, 6, 4], vocabulary=V)
    plan = plan_steps(store, steps=4, batch_tokens=12, parts=1, seed=0)
    match = HiddenMatch(student, teacher.module)
    before = match.projections[0].weight.detach().clone()
    arguments = training_arguments(Train(steps=4, batch_tokens=12, lr=0.01), folder, save_every=2)
    with attached(student, match):
        StudentTrainer(
            student,
            arguments,
            sum_of_losses=objective(match, teacher),
            batches=MicroBatches(store, plan),
        ).train(resume_from_checkpoint=resume)
    assert (match.projections[0].weight - before).abs().max() > 1e-3
    return student, match


def test_projections_are_trained_and_resumed_but_not_saved_with_the_student(tmp_path, teacher):
    straight, match = trained(tmp_path / "run", teacher)
    kept = load_file(tmp_path / "run" / "checkpoint-2" / "model.safetensors")
    assert any(name.startswith(ATTACHED) for name in kept)
    straight.save_pretrained(tmp_path / "student")
    saved = load_file(tmp_path / "student" / "model.safetensors")
    assert not any(name.startswith(ATTACHED) for name in saved)
    resumed, again = trained(
        tmp_path / "other", teacher, resume=str(tmp_path / "run" / "checkpoint-2")
    )
    pairs = zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for (_, a), b in pairs)
    assert torch.equal(match.projections[1].weight, again.projections[1].weight)


def test_projections_start_from_the_seed(teacher):
    student = tiny(1)
    weights = [
        HiddenMatch(student, teacher.module, seed=seed).projections[0].weight for seed in (3, 3, 4)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].shape == (12, 8)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"pairs": []}, "no layers"), ({"pairs": [(1, 5)]}, r"\(1, 5\)"), ({"distance": "l3"}, "l3")],
)
def test_bad_choices_are_refused(bad, message, teacher):
    with pytest.raises(InputError, match=message):
        HiddenMatch(tiny(1), teacher.module, **bad)


def test_captured_teacher_has_no_inner_states(teacher):
    captured = Teacher(module=None, head=teacher.head)
    match = HiddenMatch(tiny(1), teacher.module)
    with pytest.raises(AccessError, match="captured"):
        objective(match, captured)
