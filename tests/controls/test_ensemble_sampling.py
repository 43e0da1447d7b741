import pytest
import torch
from ensemble_world import SHAPES, V, module_of, random_tokens, rough_weights

from auditor.controls.ensemble import forward
from auditor.controls.ensemble_sampling import Draw, sample
from auditor.errors import InputError

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
GREEDY = Draw(new_tokens=7, temperature=0.0, seeds=(0, 1, 2))


@shapes
def test_greedy_texts_are_those_of_transformers(shape):
    weights, prompts = rough_weights(shape), random_tokens(length=5)
    texts = sample(shape, weights, prompts, GREEDY)
    assert texts.shape == (3, 4, 12)
    for member in range(3):
        module = module_of(shape, weights, member).eval()
        expected = module.generate(
            prompts[member],
            attention_mask=torch.ones_like(prompts[member]),
            max_new_tokens=7,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert torch.equal(texts[member], expected)


@shapes
def test_each_greedy_token_is_the_likeliest_after_its_prefix(shape):
    weights, prompts = rough_weights(shape), random_tokens(length=1)
    texts = sample(shape, weights, prompts, GREEDY)
    logits, _ = forward(shape, weights, texts[:, :, :-1])
    assert torch.equal(logits.argmax(3), texts[:, :, 1:])


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_drawn_tokens_follow_the_models_distribution(temperature):
    shape = SHAPES["llama"]
    weights, texts = rough_weights(shape, members=2), 5_000
    prompts = torch.tensor([3, 5]).expand(2, texts, 2).contiguous()
    drawn = sample(
        shape, weights, prompts, Draw(new_tokens=1, temperature=temperature, seeds=(1, 2))
    )
    logits, _ = forward(shape, weights, prompts[:, :1])
    expected = torch.softmax(logits[:, 0, -1] / temperature, 1) * texts  # (E, V)
    for member in range(2):
        found = torch.bincount(drawn[member, :, 2], minlength=V)
        often = expected[member] >= 5
        chi2 = ((found - expected[member]) ** 2 / expected[member])[often].sum()
        # The 1 - 1e-6 quantile of chi-square with 36 degrees of freedom is 92.
        assert float(chi2) < 92
        assert int(often.sum()) > 20


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-24])
def test_impossible_tokens_are_not_drawn_even_by_the_ends_of_the_unit_interval(
    uniform, monkeypatch
):
    # The smallest and the largest value of torch.rand; next to each lie tokens of probability 0.
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, uniform))
    shape = SHAPES["llama"]
    weights = rough_weights(shape, members=1)
    prompts = torch.zeros(1, 1, 1, dtype=torch.int64)
    likeliest = int(forward(shape, weights, prompts)[0][0, 0, 0].argmax())
    assert 0 < likeliest < V - 1
    cold = Draw(new_tokens=1, temperature=1e-6, seeds=(0,))
    assert int(sample(shape, weights, prompts, cold)[0, 0, 1]) == likeliest


def test_a_members_draws_depend_on_its_own_seed_alone():
    shape = SHAPES["gpt2"]
    weights, prompts = rough_weights(shape), random_tokens(length=2)
    texts = sample(shape, weights, prompts, Draw(new_tokens=6, seeds=(8, 9, 9)))
    again = sample(shape, weights, prompts, Draw(new_tokens=6, seeds=(8, 9, 9)))
    assert torch.equal(texts, again)
    last = {name: value[2:] for name, value in weights.items()}
    alone = sample(shape, last, prompts[2:], Draw(new_tokens=6, seeds=(9,)))
    assert torch.equal(alone[0], texts[2])
    other = sample(shape, last, prompts[2:], Draw(new_tokens=6, seeds=(8,)))
    assert not torch.equal(other[0], texts[2])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (Draw(new_tokens=1, seeds=(0,)), "3 members need as many seeds, found 1"),
        (Draw(new_tokens=0, seeds=(0, 1, 2)), "cannot draw 0 tokens"),
        (Draw(new_tokens=1, temperature=-1.0, seeds=(0, 1, 2)), "at temperature -1.0"),
        (Draw(new_tokens=1, temperature=float("nan"), seeds=(0, 1, 2)), "temperature nan"),
        (Draw(new_tokens=11, seeds=(0, 1, 2)), "12 tokens do not fit 11 positions"),
    ],
)
def test_draws_that_cannot_be_made_are_refused(draw, message):
    shape = SHAPES["llama"]
    with pytest.raises(InputError, match=message):
        sample(shape, rough_weights(shape), random_tokens(length=2), draw)


def test_prompts_that_cannot_be_read_are_refused():
    shape = SHAPES["llama"]
    weights = rough_weights(shape)
    for prompts in (random_tokens(length=2)[:2], random_tokens(length=0), random_tokens() + V):
        with pytest.raises(InputError):
            sample(shape, weights, prompts, GREEDY)
