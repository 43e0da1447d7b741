import itertools

import pytest
import torch
from transformers import GPT2Config

from auditor.distill.batches import padded_batch
from auditor.distill.objective import Objective, Teacher
from auditor.distill.policy_gradient import PolicyGradient
from auditor.distill.recipe_method import Method
from auditor.distill.rollouts import BEHAVIOUR, OLD
from auditor.distill.sequences import sequences
from auditor.distill.student import module_from
from auditor.errors import InputError
from auditor.models.unembedding import head_of

V = 3


def tiny(seed, *, positions=8):
    """A float64 gpt2 of three tokens; weights large enough to have opinions."""
    torch.manual_seed(seed)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": positions, "vocab_size": V}
    drops = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    module = module_from(GPT2Config(**sizes, **drops, bos_token_id=0, eos_token_id=0)).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module.eval()


@pytest.fixture
def student():
    return tiny(1)


@pytest.fixture(scope="module")
def teacher():
    module = tiny(2).requires_grad_(False)
    return Teacher(module=module, head=head_of(module, V))


def logprobs(module, batch):
    """(N,) log-probabilities of the targets, by the module's own head."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    logs = module(**given).logits.log_softmax(-1)
    return logs.gather(2, batch["targets"][..., None])[..., 0][batch["scored"]]


def drawn(module, rows, first=1):
    """A batch of token rows, as if the module had drawn what comes after `first` tokens."""
    batch = padded_batch(sequences((row, first, False) for row in rows), range(len(rows)))
    batch[OLD] = batch[BEHAVIOUR] = logprobs(module, batch).detach()
    return batch


def gradient(module, loss):
    module.zero_grad()
    loss.backward()
    return torch.cat([p.grad.reshape(-1).clone() for p in module.parameters()])


def expected_gradient(module, objective):
    """The mean gradient over all answers of two tokens to the prompt 0, exactly."""
    total = 0.0
    for answer in itertools.product(range(V), repeat=2):
        batch = drawn(module, [[0, *answer]])
        chance = batch[OLD].sum().exp()
        total = total + chance * gradient(module, objective(module, batch))
    return total


def sides(module, teacher, prompt):
    """(V,) log-probabilities of the next token by the student and by the teacher."""
    ids = torch.tensor([prompt])
    return tuple(m(input_ids=ids).logits[0, -1].log_softmax(-1) for m in (module, teacher.module))


def test_mean_gradient_is_that_of_reverse_kl_with_prefixes_held_fixed(student, teacher):
    form = head_of(student, V)
    ours = expected_gradient(student, PolicyGradient(form, teacher, clamp=None))
    ls, lt = sides(student, teacher, [0])
    kl = (ls.exp() * (ls - lt)).sum()
    for token in range(V):
        after, wanted = sides(student, teacher, [0, token])
        kl = kl + ls[token].exp().detach() * (after.exp() * (after - wanted)).sum()
    assert torch.allclose(ours, gradient(student, kl), rtol=1e-9, atol=1e-12)
    assert ours.abs().max() > 1e-2


def test_mean_gradient_without_discount_of_later_rewards_is_that_of_whole_answers(student, teacher):
    form = head_of(student, V)
    whole = PolicyGradient(form, teacher, clamp=None, discount=1.0)
    ours = expected_gradient(student, whole)
    kl = 0.0
    for answer in itertools.product(range(V), repeat=2):
        batch = drawn(student, [[0, *answer]])
        ls, lt = logprobs(student, batch).sum(), logprobs(teacher.module, batch).sum()
        kl = kl + ls.exp() * (ls - lt)
    assert torch.allclose(ours, gradient(student, kl), rtol=1e-9, atol=1e-12)
    fixed = expected_gradient(student, PolicyGradient(form, teacher, clamp=None))
    assert (ours - fixed).abs().max() > 1e-3  # prefixes matter here


def test_full_distribution_form_has_the_same_mean_gradient(student, teacher):
    form = head_of(student, V)
    full = Objective(Method(kind="logits", divergence="reverse-kl"), form, teacher)
    ours = expected_gradient(student, PolicyGradient(form, teacher, clamp=None))
    assert torch.allclose(expected_gradient(student, full), ours, rtol=1e-6, atol=1e-9)


def test_one_answer_gives_the_gradient_of_reinforce_written_by_hand(student, teacher):
    batch = drawn(student, [[0, 1, 2], [0, 2, 2, 1, 0]])
    ours = gradient(student, PolicyGradient(head_of(student, V), teacher)(student, batch))
    ls = logprobs(student, batch)
    advantage = logprobs(teacher.module, batch) - ls.detach()
    expected = gradient(student, -(ls * advantage).sum())
    assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_off_policy_ratio_discount_and_clip_match_autograd(student, teacher):
    batch = drawn(tiny(4), [[0, 1, 2, 0], [0, 2, 2, 1, 0]])
    batch[BEHAVIOUR] = batch[BEHAVIOUR] + 0.1
    objective = PolicyGradient(head_of(student, V), teacher, clip=0.2, clamp=0.9, discount=0.5)
    loss = objective(student, batch)
    ours = gradient(student, loss)
    ls = logprobs(student, batch)
    reward = (logprobs(teacher.module, batch) - batch[OLD]).clamp(-0.9, 0.9)
    advantage = reward.clone()  # rows of 3 and 4 targets
    for place in (1, 0, 5, 4, 3):
        advantage[place] = reward[place] + 0.5 * advantage[place + 1]
    ratio = (ls - batch[BEHAVIOUR]).exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    assert loss.item() == pytest.approx(-gain.sum().item(), rel=1e-9)
    assert torch.allclose(ours, gradient(student, -gain.sum()), rtol=1e-9, atol=1e-12)
    seen = objective.monitor()
    clipped = ratio.clamp(0.8, 1.2) * advantage < ratio * advantage
    assert 0 < seen.clipped == int(clipped.sum()) < 7
    assert 0 < seen.clamped == int((reward.abs() == 0.9).sum()) < 7
    assert objective.monitor().targets == 0


def test_monitor_estimates_the_divergence_without_negative_terms(student, teacher):
    objective = PolicyGradient(head_of(student, V), teacher)
    expected = 0.0
    for token in range(V):
        batch = drawn(student, [[0, token]])
        objective(student, batch)
        expected += batch[OLD].exp().item() * objective.monitor().k3
    ls, lt = sides(student, teacher, [0])
    # E[exp(d)] is 1 under the student, so the mean of k3 is E[ls - lt], the divergence itself.
    assert expected == pytest.approx((ls.exp() * (ls - lt)).sum().item(), rel=1e-9)


def test_split_into_micro_batches_and_side_of_padding_change_nothing(student, teacher):
    objective = PolicyGradient(head_of(student, V), teacher, discount=0.7)
    rows = [[0, 1, 2], [0, 2, 2, 1, 0], [0, 0, 1, 2]]
    whole = gradient(student, objective(student, drawn(student, rows, first=1)))
    parts = sum(gradient(student, objective(student, drawn(student, [row]))) for row in rows)
    assert torch.allclose(whole, parts, rtol=1e-9, atol=1e-12)


def test_nothing_scored_costs_nothing_and_keeps_a_gradient_path(student, teacher):
    batch = drawn(student, [[0, 1, 2]])
    batch["scored"][:] = False
    batch[OLD] = batch[BEHAVIOUR] = batch[OLD][:0]
    loss = PolicyGradient(head_of(student, V), teacher, discount=0.5)(student, batch)
    assert loss.item() == 0
    assert gradient(student, loss).abs().max() == 0


def test_student_equal_to_its_teacher_has_no_gradient(teacher):
    twin = tiny(2)
    objective = PolicyGradient(head_of(twin, V), teacher)
    loss = objective(twin, drawn(twin, [[0, 1, 2, 1]]))
    assert gradient(twin, loss).abs().max() < 1e-12
    assert objective.monitor().k3 == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("bad", [{"clip": 0.0}, {"clamp": -1.0}, {"discount": 1.5}])
def test_settings_without_meaning_are_refused(student, teacher, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        PolicyGradient(head_of(student, V), teacher, **bad)


def test_batch_that_nobody_drew_is_refused(student, teacher):
    batch = padded_batch(sequences([([0, 1, 2], 1, False)]), [0])
    with pytest.raises(InputError, match="drawn with"):
        PolicyGradient(head_of(student, V), teacher)(student, batch)
