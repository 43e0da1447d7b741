import math

import pytest
import torch
from distill_world import random_sequences
from transformers import GPT2Config, LlamaConfig

from auditor.distill.attention import AttentionMatch
from auditor.distill.batches import padded_batch
from auditor.distill.matching import MatchedObjective, Term
from auditor.distill.objective import Teacher
from auditor.distill.student import module_from
from auditor.errors import InputError
from auditor.models.unembedding import head_of

V = 11


def tiny(seed, *, hidden=8, heads=2, groups=2, kind="llama", eager=True, dropout=0.0):
    torch.manual_seed(seed)
    if kind == "gpt2":
        drops = {"attn_pdrop": dropout, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
        config = GPT2Config(n_embd=hidden, n_layer=2, n_head=heads, vocab_size=V, **drops)
    else:
        sizes = {"hidden_size": hidden, "intermediate_size": 12, "num_hidden_layers": 2}
        counts = {"num_attention_heads": heads, "num_key_value_heads": groups}
        config = LlamaConfig(**sizes, **counts, vocab_size=V, attention_dropout=dropout)
    module = module_from(config).double()
    if eager:
        module.set_attn_implementation("eager")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def taught(module):
    module.eval().requires_grad_(False)
    return Teacher(module=module, head=head_of(module, V))


@pytest.fixture(scope="module")
def teacher():
    return taught(tiny(2, hidden=12))


@pytest.fixture
def batch():
    return padded_batch(random_sequences([5, 3, 6], vocabulary=V), [0, 1, 2])


def total(match, teacher, student, batch):
    def nothing(module, batch):
        module(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask"))
        return module.lm_head.weight.sum() * 0.0

    return MatchedObjective(nothing, teacher, [Term(match=match, weight=1.0)])(student, batch)


def passed(module, batch, row, length):
    """Attention (H, T, T) of the last layer, and (T, D) that enter its projections."""
    entered = []
    layer = module.base_model.layers[-1] if hasattr(module, "model") else module.transformer.h[-1]
    norm = layer.input_layernorm if hasattr(module, "model") else layer.ln_1
    hook = norm.register_forward_hook(lambda _, __, output: entered.append(output[0]))
    ids = batch["input_ids"][row : row + 1, :length]
    attention = module(input_ids=ids, output_attentions=True).attentions[-1][0]
    hook.remove()
    return attention, entered[0]


def projected(module, entered, name):
    """(T, width) of a projection of the last layer."""
    if hasattr(module, "model"):
        layer = getattr(module.model.layers[-1].self_attn, f"{name[0]}_proj")
        return entered @ layer.weight.T
    layer = module.transformer.h[-1].attn.c_attn
    place, width = ("query", "key", "value").index(name), entered.shape[-1]
    return (entered @ layer.weight + layer.bias)[:, place * width : (place + 1) * width]


def kl(p, q):
    return (p * (p / q).log()).sum()


def relation_kl(student, teacher, i, heads):
    """Mean over heads of KL between the relations of position i, from (T, width) projections."""
    total = 0.0
    for h in range(heads):
        rows = []
        for projection in (teacher, student):
            d = projection.shape[1] // heads
            part = projection[: i + 1, h * d : (h + 1) * d]
            rows.append((part @ part[i] / d**0.5).softmax(0))
        total = total + kl(*rows)
    return total / heads


def by_hand(student, teacher, batch, *, heads, attention, relations=("value",)):
    """Loops over rows, heads and positions; no masks: each row is read alone, to its length."""
    sum_ = 0.0
    for row, scored in enumerate(batch["scored"]):
        places = scored.nonzero()[:, 0].tolist()
        (a_s, e_s), (a_t, e_t) = (passed(m, batch, row, places[-1] + 1) for m in (student, teacher))
        for i in places:
            if attention:
                sums = [kl(a_t[h, i, : i + 1], a_s[h, i, : i + 1]) for h in range(len(a_t))]
                sum_ = sum_ + sum(sums) / len(a_t)
            for name in relations:
                sides = projected(student, e_s, name), projected(teacher, e_t, name)
                sum_ = sum_ + relation_kl(*sides, i, heads)
    return sum_


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_value_is_that_of_the_formula_read_row_by_row(kind, teacher, batch):
    student = tiny(1, kind=kind)
    match = AttentionMatch(student, teacher.module)
    with torch.no_grad():
        expected = by_hand(student, teacher.module, batch, heads=2, attention=True).item()
        found = total(match, teacher, student, batch).item()
    assert found == pytest.approx(expected, rel=1e-9)
    assert found > 1e-2


def test_models_of_other_head_counts_meet_in_relation_heads(batch):
    student, teacher = tiny(1, heads=4, groups=2), taught(tiny(2, hidden=12, heads=3, groups=1))
    with pytest.raises(InputError, match="2 value heads and the teacher 1"):
        AttentionMatch(student, teacher.module, attention=False)
    with pytest.raises(InputError, match="4 attention heads and the teacher 3"):
        AttentionMatch(student, teacher.module, heads=2)
    with pytest.raises(InputError, match="3 relation heads do not divide"):
        AttentionMatch(student, teacher.module, attention=False, heads=3)
    match = AttentionMatch(student, teacher.module, attention=False, heads=2)
    with torch.no_grad():
        expected = by_hand(student, teacher.module, batch, heads=2, attention=False).item()
        assert total(match, teacher, student, batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_gradients_of_all_terms_are_those_of_plain_autograd(kind, teacher, batch):
    student = tiny(1, kind=kind)
    relations = ("query", "key", "value")
    match = AttentionMatch(student, teacher.module, relations=relations)
    total(match, teacher, student, batch).backward()
    ours = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad(set_to_none=True)
    given = {"heads": 2, "attention": True, "relations": relations}
    by_hand(student, teacher.module, batch, **given).backward()
    for name, parameter in student.named_parameters():
        if parameter.grad is not None:
            # transformers takes the softmax of attention in float32.
            assert torch.allclose(ours[name], parameter.grad, rtol=1e-4, atol=1e-5), name
    assert max(float(gradient.abs().max()) for gradient in ours.values()) > 0.1


def test_twin_of_the_teacher_is_no_distance_away(teacher, batch):
    twin = tiny(2, hidden=12)
    match = AttentionMatch(twin, teacher.module, relations=("query", "key", "value"))
    assert total(match, teacher, twin, batch).item() == pytest.approx(0.0, abs=1e-12)


def test_split_into_micro_batches_and_side_of_padding_change_nothing():
    store = random_sequences([5, 3, 6], vocabulary=V)
    # In float32: in float64 transformers' own mask turns padding on the left into NaN.
    student, teacher = tiny(1).float(), taught(tiny(2, hidden=12).float())
    match = AttentionMatch(student, teacher.module)
    whole = padded_batch(store, [0, 1, 2])
    parts = sum(total(match, teacher, student, padded_batch(store, [n])).item() for n in range(3))
    assert total(match, teacher, student, whole).item() == pytest.approx(parts, rel=1e-5)
    left = {name: tensor.clone() for name, tensor in whole.items()}
    for row, length in enumerate((5, 3, 6)):
        for name in whole:
            left[name][row] = whole[name][row].roll(6 - length)
    assert total(match, teacher, student, left).item() == pytest.approx(parts, rel=1e-5)


def test_nothing_scored_costs_nothing_and_keeps_a_gradient_path(teacher, batch):
    student = tiny(1)
    batch["scored"][:] = False
    loss = total(AttentionMatch(student, teacher.module), teacher, student, batch)
    loss.backward()
    assert loss.item() == 0
    assert student.model.layers[-1].self_attn.v_proj.weight.grad.abs().max() == 0


def test_impossible_student_attention_costs_a_finite_price():
    from auditor.distill.attention import _attention_kl

    teacher = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]], dtype=torch.float64)
    student = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]], dtype=torch.float64)
    found = _attention_kl(teacher, student, torch.tensor([[True, True]]))
    # 0 for the first row; ln(1/2) - 1/2 ln(tiny) for the second.
    expected = math.log(0.5) - 0.5 * math.log(torch.finfo(torch.float64).tiny)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_attention_that_shows_no_weights_is_refused(teacher):
    with pytest.raises(InputError, match="shows no weights"):
        AttentionMatch(tiny(1, eager=False), teacher.module)
    assert AttentionMatch(tiny(1, eager=False), teacher.module, attention=False).student_taps


def test_dropped_attention_is_refused(teacher):
    for kind in ("llama", "gpt2"):
        with pytest.raises(InputError, match=r"drops 0\.1"):
            AttentionMatch(tiny(1, kind=kind, dropout=0.1), teacher.module)


def test_unknown_and_empty_choices_are_refused(teacher):
    with pytest.raises(InputError, match="unknown relation 'output'"):
        AttentionMatch(tiny(1), teacher.module, relations=("output",))
    with pytest.raises(InputError, match="no attention to match"):
        AttentionMatch(tiny(1), teacher.module, attention=False, relations=())
