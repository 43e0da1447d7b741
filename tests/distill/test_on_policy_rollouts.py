import numpy as np
import pytest
import torch
from distill_world import random_sequences
from transformers import GPT2Config, LlamaConfig

from auditor.distill.batches import MicroBatches, draw_numbers, plan_steps
from auditor.distill.objective import Objective, Teacher
from auditor.distill.on_policy import DRAWS, OnPolicy, prompts_in
from auditor.distill.recipe_method import Method
from auditor.distill.rollouts import BEHAVIOUR, OLD, Rollouts, Sampler
from auditor.distill.sequences import sequences
from auditor.distill.student import module_from
from auditor.errors import InputError, SubjectError
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.models.unembedding import head_of
from auditor.types import Decoding

V = 11
PROMPTS = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]
NUMBERS = [[0, 0], [1, 0], [2, 0]]


def tiny(kind):
    torch.manual_seed(4)
    if kind == "gpt2":
        config = GPT2Config(n_embd=8, n_layer=2, n_head=2, n_positions=24, vocab_size=V + 2)
    else:
        sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
        config = LlamaConfig(**sizes, **heads, max_position_embeddings=64, vocab_size=V + 2)
    module = module_from(config).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module.eval()


@pytest.fixture(params=["llama", "gpt2"])
def module(request):
    return tiny(request.param)


def sampler(module, *, ends=frozenset({0}), seed=7, **decoding):
    chosen = Decoding(**{"max_new_tokens": 6, **decoding})
    return Sampler(head_of(module, V), chosen, ends=ends, seed=seed)


def logits(module, batch):
    """(N, V) float64 logits at the scored positions, of one pass over the whole rows."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    with torch.no_grad():
        return module(**given).logits[batch["scored"]][:, :V]


def test_log_probabilities_of_the_draw_are_those_of_reading_the_answer(module):
    rollouts = sampler(module).draw(module, PROMPTS, NUMBERS, 0)
    batch = rollouts.batch
    targets = batch["targets"][batch["scored"]]
    expected = logits(module, batch).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(batch[OLD], expected, rtol=0, atol=1e-9)
    assert torch.equal(batch[OLD], batch[BEHAVIOUR])
    assert targets.tolist() == [token for reply in rollouts.completions for token in reply]
    assert prompts_in(batch) == PROMPTS
    assert rollouts.targets == len(targets)


def test_tempered_and_truncated_draws_know_what_they_were_drawn_from(module):
    rollouts = sampler(module, temperature=0.7, top_p=0.6).draw(module, PROMPTS, NUMBERS, 0)
    batch = rollouts.batch
    targets = batch["targets"][batch["scored"]]
    plain = logits(module, batch)
    tempered = (plain / 0.7).softmax(-1)
    expected = []
    for row, target in zip(tempered.tolist(), targets.tolist(), strict=True):
        order = sorted(range(V), key=lambda v: -row[v])
        mass = np.cumsum([row[v] for v in order])
        nucleus = order[: int((mass < 0.6).sum()) + 1]  # the fewest that reach 0.6
        assert target in nucleus
        expected.append(np.log(row[target] / sum(row[v] for v in nucleus)))
    old = plain.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert batch[BEHAVIOUR].tolist() == pytest.approx(expected, abs=1e-9)
    assert torch.allclose(batch[OLD], old, rtol=0, atol=1e-9)


def test_tokens_come_as_often_as_they_are_likely():
    module = tiny("llama")
    draws = 4000
    numbers = [[n, 0] for n in range(draws)]
    rollouts = sampler(module, max_new_tokens=1).draw(module, [[3, 1]] * draws, numbers, 0)
    with torch.no_grad():
        chances = module(input_ids=torch.tensor([[3, 1]])).logits[0, -1, :V].softmax(-1).numpy()
    counts = np.bincount([reply[0] for reply in rollouts.completions], minlength=V)
    chi2 = ((counts - draws * chances) ** 2 / (draws * chances)).sum()
    assert chi2 < 29.6  # the 0.999 quantile of chi-square with 10 degrees of freedom
    assert counts.max() < draws / 2  # not a model of one opinion


def test_answer_does_not_depend_on_what_shares_the_batch(module):
    chosen = sampler(module)
    together = chosen.draw(module, PROMPTS, NUMBERS, 3).completions
    alone = [
        chosen.draw(module, [prompt], [number], 3).completions[0]
        for prompt, number in zip(PROMPTS, NUMBERS, strict=True)
    ]
    assert list(together) == alone
    assert chosen.draw(module, PROMPTS, NUMBERS, 3).completions == together
    assert chosen.draw(module, PROMPTS, NUMBERS, 4).completions != together
    assert sampler(module, seed=8).draw(module, PROMPTS, NUMBERS, 3).completions != together


def test_end_token_is_the_last_target_and_an_answer_of_nothing_else_is_empty(module):
    numbers = [[n, 0] for n in range(40)]
    rollouts = sampler(module, max_new_tokens=4).draw(module, [[1, 2]] * 40, numbers, 0)
    assert len(set(rollouts.finished)) == 2
    for reply, ended in zip(rollouts.completions, rollouts.finished, strict=True):
        assert ended == (reply[-1] == 0)
        assert 0 not in reply[:-1]
        assert ended or len(reply) == 4
    alone = sum(reply == (0,) for reply in rollouts.completions)
    assert rollouts.empty == alone > 0
    cut = sampler(module, ends=frozenset(), max_new_tokens=1).draw(module, PROMPTS, NUMBERS, 0)
    assert cut.targets == 3
    assert cut.empty == 0
    every = sampler(module, ends=frozenset(range(V))).draw(module, PROMPTS, NUMBERS, 0)
    assert every.empty == every.targets == 3


def test_record_of_an_answer_leaves_the_end_token_out_of_its_text():
    tokenizer = byte_tokenizer()
    end = tokenizer.eos_token_id
    rollouts = Rollouts(batch={}, completions=((104, 105, end), (105,)), finished=(True, False))
    assert rollouts.rows(tokenizer, 5) == [
        {"step": 5, "token_ids": [104, 105, end], "text": "hi", "finish_reason": "stop"},
        {"step": 5, "token_ids": [105], "text": "i", "finish_reason": "length"},
    ]


def test_padded_rows_of_the_head_are_never_drawn(module):
    with torch.no_grad():
        module.get_output_embeddings().weight[V:] *= 50.0
    rollouts = sampler(module).draw(module, PROMPTS * 20, [[n, 0] for n in range(60)], 0)
    assert max(max(reply) for reply in rollouts.completions) < V


def test_drawing_keeps_the_mode_of_the_student_and_leaves_no_gradient(module):
    chosen = sampler(module)
    module.train()
    rollouts = chosen.draw(module, PROMPTS, NUMBERS, 0)
    assert module.training
    module.eval()
    assert chosen.draw(module, PROMPTS, NUMBERS, 0).completions == rollouts.completions
    assert not rollouts.batch[OLD].requires_grad


def test_same_prompt_twice_in_a_step_gets_two_draws(module):
    rollouts = sampler(module).draw(module, [PROMPTS[0]] * 3, [[4, 0], [4, 1], [4, 0]], 0)
    first, second, repeated = rollouts.completions
    assert first == repeated != second


def test_number_on_a_boundary_never_takes_a_token_without_mass():
    # Of three tokens only the second is left; 0 is where the empty first one begins and ends.
    chosen = sampler(tiny("llama"), top_k=1)
    logits = torch.tensor([[0.0, 2.0, 1.0]], dtype=torch.float64)
    for number in (0.0, 1 - 2**-53):
        drawn = chosen._choose(logits, torch.tensor([number], dtype=torch.float64))
        assert drawn.tokens.tolist() == [1]
        assert drawn.behaviour.tolist() == [0.0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_share_of_steps_is_on_policy_whatever_their_number(share):
    chosen = OnPolicy(sampler(tiny("llama"), seed=2), share)
    taken = [chosen.takes(step) for step in range(1000)]
    # Four standard deviations of a binomial count.
    assert abs(sum(taken) - 1000 * share) <= 4 * (1000 * share * (1 - share)) ** 0.5
    assert [chosen.takes(step) for step in range(10)] == taken[:10]


def test_number_of_parts_does_not_change_what_a_step_draws():
    module = tiny("llama")
    store = sequences((row, 2, False) for row in np.random.RandomState(1).randint(0, V, (5, 6)))
    steps = []
    for parts in (1, 2, 3):
        plan = plan_steps(store, steps=2, batch_tokens=40, parts=parts, seed=1)
        found = MicroBatches(store, plan)
        batches = [
            {**found[n], DRAWS: torch.from_numpy(draw_numbers(plan, n))} for n in range(parts)
        ]
        named = [tuple(pair) for n in range(parts) for pair in draw_numbers(plan, n).tolist()]
        assert len(set(named)) == len(named)
        chosen = OnPolicy(sampler(module), 1.0)
        taken, drawn = chosen.window(module, batches, 0, lambda targets: targets)
        replies = sorted(reply for rollouts in drawn for reply in rollouts.completions)
        assert {batch["step_targets"] for batch in taken} == {sum(map(len, replies))}
        steps.append(replies)
    assert len(plan.members[0]) + len(plan.members[1]) + len(plan.members[2]) > 5  # some twice
    assert steps[0] == steps[1] == steps[2]


def test_other_steps_keep_their_micro_batches():
    module = tiny("llama")
    store = random_sequences([5, 3], vocabulary=V)
    found = MicroBatches(store, plan_steps(store, steps=1, batch_tokens=8, parts=1, seed=0))
    batches = [found[0]]
    taken, drawn = OnPolicy(sampler(module), 0.0).window(module, batches, 0, int)
    assert drawn == []
    assert taken[0] is batches[0]


def test_full_distribution_form_reads_rollouts_as_any_batch(module):
    teacher_module = tiny("llama")
    teacher = Teacher(module=teacher_module, head=head_of(teacher_module, V))
    batch = sampler(module).draw(module, PROMPTS, NUMBERS, 0).batch
    method = Method(kind="logits", divergence="reverse-kl")
    loss = Objective(method, head_of(module, V), teacher)(module, batch)
    ls, lt = (logits(m, batch).log_softmax(-1) for m in (module, teacher_module))
    assert loss.item() == pytest.approx((ls.exp() * (ls - lt)).sum().item(), abs=1e-9)


def test_bad_input_is_refused():
    module = tiny("gpt2")
    with pytest.raises(InputError, match="temperature is 0"):
        sampler(module, temperature=0.0)
    with pytest.raises(InputError, match="share"):
        OnPolicy(sampler(module), 1.5)
    for prompts in ([], [[1], []]):
        with pytest.raises(InputError, match="at least one token"):
            sampler(module).draw(module, prompts, NUMBERS[: len(prompts)], 0)
    with pytest.raises(InputError, match="do not match"):
        sampler(module).draw(module, PROMPTS, NUMBERS[:2], 0)
    with pytest.raises(SubjectError, match="do not fit"):
        sampler(module, max_new_tokens=20).draw(module, PROMPTS, NUMBERS, 0)
