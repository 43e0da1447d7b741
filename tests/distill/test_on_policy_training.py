import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from auditor.distill.batches import MicroBatches, draw_numbers, padded_batch, plan_steps
from auditor.distill.objective import Objective, Teacher
from auditor.distill.on_policy import DRAWS, OnPolicy
from auditor.distill.policy_gradient import PolicyGradient
from auditor.distill.recipe_method import Method
from auditor.distill.recipe_train import Train
from auditor.distill.rollouts import Sampler
from auditor.distill.sequences import sequences
from auditor.distill.student import module_from
from auditor.distill.trainer import StudentTrainer, training_arguments
from auditor.models.unembedding import head_of
from auditor.types import Decoding

V = 11
STORE = sequences((row, 2, False) for row in np.random.RandomState(1).randint(0, V, (9, 7)))


def tiny(seed):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    module = module_from(LlamaConfig(**sizes, num_attention_heads=2, vocab_size=V))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module.eval()


@pytest.fixture(scope="module")
def teacher():
    module = tiny(2).requires_grad_(False)
    return Teacher(module=module, head=head_of(module, V))


class Numbered(MicroBatches):
    """Micro-batches that name their draws."""

    def __init__(self, plan):
        super().__init__(STORE, plan)
        self.plan = plan

    def __getitem__(self, index):
        numbers = torch.from_numpy(draw_numbers(self.plan, index))
        return {**super().__getitem__(index), DRAWS: numbers}


class RolloutTrainer(StudentTrainer):
    """Trains on what the student draws at the start of a step."""

    on_policy: OnPolicy

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        step = self.state.global_step
        taken, drawn = self.on_policy.window(self.model, batches, step, lambda targets: targets)
        self.drawn.append([reply for rollouts in drawn for reply in rollouts.completions])
        return taken, items


def trained(folder, loss, *, parts=1, share=1.0, steps=6, resume=None, lr=0.01):
    student = tiny(1)
    form = head_of(student, V)
    batch_tokens = 36
    plan = plan_steps(STORE, steps=steps, batch_tokens=batch_tokens, parts=parts, seed=0)
    train = Train(
        steps=steps, batch_tokens=batch_tokens, lr=lr, accumulate=parts, schedule="constant"
    )
    trainer = RolloutTrainer(
        student,
        training_arguments(train, folder, save_every=3),
        sum_of_losses=loss(form),
        batches=Numbered(plan),
    )
    decoding = Decoding(max_new_tokens=6)
    trainer.on_policy = OnPolicy(Sampler(form, decoding, ends=frozenset({0}), seed=3), share)
    trainer.drawn = []
    trainer.train(resume_from_checkpoint=resume)
    return student, trainer.drawn


def difference(a, b):
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((x - y).abs().max().detach()) for x, y in pairs)


def reverse_kl(student, teacher):
    """Mean KL(student || teacher) over the positions of fixed sequences, in nats."""
    batch = padded_batch(STORE, range(len(STORE)))
    with torch.no_grad():
        s, t = (m(input_ids=batch["input_ids"]).logits.log_softmax(-1) for m in (student, teacher))
    return float((s.exp() * (s - t)).sum(-1).mean())


def test_resumed_run_draws_the_same_answers_and_ends_with_the_same_weights(tmp_path, teacher):
    def loss(form):
        return Objective(Method(kind="logits", divergence="reverse-kl"), form, teacher)

    straight, drawn = trained(tmp_path / "run", loss, share=0.5)
    resumed, again = trained(
        tmp_path / "other", loss, share=0.5, resume=str(tmp_path / "run" / "checkpoint-3")
    )
    assert again == drawn[3:]
    assert 0 < sum(map(bool, drawn)) < 6
    assert difference(straight, resumed) == 0


def test_number_of_parts_does_not_change_training(tmp_path, teacher):
    def loss(form):
        return PolicyGradient(form, teacher)

    one, drawn = trained(tmp_path / "one", loss)
    three, again = trained(tmp_path / "three", loss, parts=3)
    assert [sorted(step) for step in drawn] == [sorted(step) for step in again]
    assert difference(one, three) < 1e-5


@pytest.mark.parametrize("form_of_loss", ["policy", "full"])
def test_student_comes_closer_to_its_teacher_on_its_own_answers(tmp_path, teacher, form_of_loss):
    def loss(form):
        if form_of_loss == "policy":
            return PolicyGradient(form, teacher)
        return Objective(Method(kind="logits", divergence="reverse-kl"), form, teacher)

    student, _ = trained(tmp_path / "run", loss, steps=60, lr=0.02)
    before, after = (reverse_kl(module, teacher.module) for module in (tiny(1), student))
    assert after < 0.7 * before
