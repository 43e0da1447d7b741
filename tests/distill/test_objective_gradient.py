import pytest
import torch
from distill_world import random_sequences
from torch.nn import functional
from transformers import AutoModelForCausalLM

from auditor.distill.batches import padded_batch
from auditor.distill.fidelity import Holdout, gap_closed
from auditor.distill.objective import Objective, Teacher
from auditor.distill.recipe_method import Method
from auditor.distill.recipe_student import Init
from auditor.distill.student import module_from, random_module
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.models.unembedding import head_of

VOCABULARY = 259


@pytest.fixture(scope="module")
def teacher_module(teacher):
    return AutoModelForCausalLM.from_pretrained(teacher).eval()


@pytest.fixture
def student_module():
    torch.manual_seed(3)
    init = Init(architecture="llama", hidden=16, layers=2, heads=2, ffn=24, max_length=64)
    return random_module(init, byte_tokenizer()).eval()


@pytest.fixture(scope="module")
def batch():
    return padded_batch(random_sequences([9, 5, 13]), [0, 1, 2])


def gradients(module):
    return {name: p.grad.clone() for name, p in module.named_parameters()}


def plain_logits(module, batch):
    """(N, V) logits at the scored positions, through the module's own head, by autograd."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return module(**given).logits[batch["scored"]][:, :VOCABULARY]


def test_forward_kl_reaches_tied_embeddings_and_layers_as_plain_autograd_does(
    student_module, teacher_module, batch
):
    teacher = Teacher(module=teacher_module, head=head_of(teacher_module, VOCABULARY))
    objective = Objective(
        Method(kind="logits", temperature=2.0), head_of(student_module, VOCABULARY), teacher
    )
    loss = objective(student_module, batch)
    loss.backward()
    ours = gradients(student_module)
    student_module.zero_grad()
    with torch.no_grad():
        target = functional.log_softmax(plain_logits(teacher_module, batch) / 2.0, -1)
    student = functional.log_softmax(plain_logits(student_module, batch) / 2.0, -1)
    expected = functional.kl_div(student, target, reduction="sum", log_target=True)
    expected.backward()
    assert student_module.config.tie_word_embeddings
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(student_module).items():
        assert torch.allclose(ours[name], gradient, rtol=1e-4, atol=1e-5), name


def test_alpha_mixes_in_the_cross_entropy_of_the_tokens(student_module, teacher_module, batch):
    teacher = Teacher(module=teacher_module, head=head_of(teacher_module, VOCABULARY))
    form = head_of(student_module, VOCABULARY)

    def total(method):
        return Objective(method, form, teacher)(student_module, batch).item()

    divergence = total(Method(kind="logits", divergence="jsd"))
    mixed = total(Method(kind="logits", divergence="jsd", alpha=0.25))
    labels = batch["targets"][batch["scored"]]
    tokens = functional.cross_entropy(plain_logits(student_module, batch), labels, reduction="sum")
    assert mixed == pytest.approx(0.75 * divergence + 0.25 * tokens.item(), rel=1e-5)


def test_temperature_squared_is_a_factor_of_four_at_two(student_module, teacher_module, batch):
    teacher = Teacher(module=teacher_module, head=head_of(teacher_module, VOCABULARY))
    form = head_of(student_module, VOCABULARY)
    plain, squared = (
        Objective(Method(kind="logits", temperature=2.0, t_squared=on), form, teacher)(
            student_module, batch
        ).item()
        for on in (False, True)
    )
    assert squared == pytest.approx(4 * plain, rel=1e-6)


def test_padded_rows_of_the_head_carry_no_probability_and_get_no_gradient(batch):
    torch.manual_seed(3)
    init = Init(architecture="llama", hidden=16, layers=1, heads=2, max_length=64, tie=False)
    module = random_module(init, byte_tokenizer()).eval()
    module.resize_token_embeddings(272, mean_resizing=False)
    with torch.no_grad():
        module.lm_head.weight[VOCABULARY:] = 9.0  # would take most of the probability
    loss = Objective(Method(kind="baseline"), head_of(module, VOCABULARY))(module, batch)
    loss.backward()
    labels = batch["targets"][batch["scored"]]
    expected = functional.cross_entropy(plain_logits(module, batch), labels, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert module.lm_head.weight.grad[VOCABULARY:].abs().max() == 0
    assert module.lm_head.weight.grad[:VOCABULARY].abs().max() > 0


def small_config(kind):
    from transformers import CohereConfig, Gemma2Config, GPT2Config

    common = {"vocab_size": VOCABULARY, "pad_token_id": 258, "bos_token_id": 256}
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    if kind == "softcap":
        return Gemma2Config(**common, **sizes, **heads, final_logit_softcapping=0.5)
    if kind == "scale":
        del sizes["head_dim"]
        return CohereConfig(**common, **sizes, **heads, logit_scale=0.25)
    return GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, vocab_size=VOCABULARY)


@pytest.mark.parametrize("kind", ["softcap", "scale", "gpt2"])
def test_cross_entropy_is_that_of_the_model_with_softcap_scale_and_learned_positions(kind, batch):
    torch.manual_seed(1)
    module = module_from(small_config(kind)).eval()
    loss = Objective(Method(kind="baseline"), head_of(module, VOCABULARY))(module, batch)
    loss.backward()
    ours = gradients(module)
    module.zero_grad()
    labels = batch["targets"][batch["scored"]]
    expected = functional.cross_entropy(plain_logits(module, batch), labels, reduction="sum")
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(module).items():
        assert torch.allclose(ours[name], gradient, rtol=1e-3, atol=1e-5), name


def test_holdout_of_the_teacher_itself_is_exactly_zero_apart(teacher_module):
    store = random_sequences([9, 5, 13])
    head = head_of(teacher_module, VOCABULARY)
    teacher = Teacher(module=teacher_module, head=head)
    holdout = Holdout(store, form=head, teacher=teacher, batch_tokens=16)
    values = holdout.measure(teacher_module)
    assert holdout.positions == 27
    assert values["kl"] == 0.0
    assert values["top1"] == 1.0
    assert values["loss"] == values["teacher_loss"]


def test_holdout_equals_plain_logits_in_float64(student_module, teacher_module, batch):
    store = random_sequences([9, 5, 13])
    teacher = Teacher(module=teacher_module, head=head_of(teacher_module, VOCABULARY))
    form = head_of(student_module, VOCABULARY)
    values = Holdout(store, form=form, teacher=teacher, batch_tokens=64).measure(student_module)
    with torch.no_grad():
        t = plain_logits(teacher_module, batch).double().log_softmax(-1)
        s = plain_logits(student_module, batch).double().log_softmax(-1)
    labels = batch["targets"][batch["scored"]]
    assert values["kl"] == pytest.approx(float((t.exp() * (t - s)).sum(-1).mean()), rel=1e-5)
    assert values["loss"] == pytest.approx(float(functional.nll_loss(s, labels)), rel=1e-5)
    assert values["teacher_loss"] == pytest.approx(float(functional.nll_loss(t, labels)), rel=1e-5)
    agreed = (t.argmax(-1) == s.argmax(-1)).double().mean()
    assert values["top1"] == pytest.approx(float(agreed))
    without = Holdout(store, form=form, teacher=None, batch_tokens=64).measure(student_module)
    assert without["loss"] == pytest.approx(values["loss"], rel=1e-6)
    assert without["kl"] is None


def test_measuring_keeps_the_mode_of_the_student(student_module):
    form = head_of(student_module, VOCABULARY)
    holdout = Holdout(random_sequences([9]), form=form, teacher=None, batch_tokens=64)
    student_module.train()
    holdout.measure(student_module)
    assert student_module.training


def test_share_of_the_gap_by_hand_and_undefined_without_a_gap():
    # From 5 to 3.5 where the teacher is at 3: 1.5 of 2.
    assert gap_closed(5.0, 3.5, 3.0) == pytest.approx(0.75)
    assert gap_closed(3.0, 2.9, 3.0) is None
    assert gap_closed(3.009, 2.9, 3.0) is None


def test_shrunk_teacher_of_all_layers_is_the_teacher(tmp_path, teacher_module, batch):
    from auditor.distill.student import shrunk_module

    student, kept = shrunk_module(teacher_module, 3)
    assert kept == (0, 1, 2)
    with torch.no_grad():
        same = plain_logits(student.eval(), batch) - plain_logits(teacher_module, batch)
    assert same.abs().max() == 0


def test_two_layers_are_the_first_and_the_last(teacher_module):
    from auditor.distill.student import shrunk_module

    student, kept = shrunk_module(teacher_module, 2)
    assert kept == (0, 2)
    given, taken = teacher_module.state_dict(), student.state_dict()
    name = "model.layers.{}.mlp.up_proj.weight"
    assert torch.equal(taken[name.format(1)], given[name.format(2)])
    assert torch.equal(taken["model.embed_tokens.weight"], given["model.embed_tokens.weight"])


def test_teacher_of_the_tests_has_opinions(teacher_module, batch):
    # Guards the fixture: near-uniform teachers would make every divergence test blind.
    with torch.no_grad():
        logps = plain_logits(teacher_module, batch).log_softmax(-1)
    entropy = -(logps.exp() * logps).sum(-1).mean()
    assert entropy < 5.0  # uniform over 259 ids: ln 259 = 5.56
