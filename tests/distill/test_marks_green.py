"""Green lists: the hash against whole numbers, the test against closed forms, power by dose."""

import hmac
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest

from auditor.distill.green_list import GreenListProcessor, retokenized
from auditor.errors import InputError, UndefinedError
from auditor.kernels.green_tokens import GreenHash, green_test

KEY = bytes(range(32))
LISTS = GreenHash(KEY, window=2, fraction=0.25)


def green_by_definition(key, context, token, fraction):
    """The rule in unbounded whole numbers."""
    message = b"".join(int(i).to_bytes(8, "big") for i in context)
    seed = int.from_bytes(hmac.digest(key, message, "sha256")[:8], "big")
    word = (seed + (token + 1) * 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    word ^= word >> 31
    return (word >> 11) / 2**53 < fraction


@pytest.mark.parametrize(("window", "fraction"), [(1, 0.5), (3, 0.1)])
def test_mask_agrees_with_the_rule_in_whole_numbers(window, fraction):
    lists = GreenHash(KEY, window=window, fraction=fraction)
    contexts = torch.tensor([[5, 900, 7][:window], [0, 0, 151_935][-window:]])
    expected = [
        [green_by_definition(KEY, context, token, fraction) for token in range(301)]
        for context in contexts.tolist()
    ]
    assert lists.mask(contexts, 301).tolist() == expected


def test_grams_are_green_where_the_mask_says_so():
    contexts = torch.randint(0, 99, (40, 2), generator=torch.Generator().manual_seed(0))
    grams = [(*context, 17 + i) for i, context in enumerate(contexts.tolist())]
    mask = LISTS.mask(contexts, 99)
    assert LISTS.green(grams).tolist() == [bool(mask[i, 17 + i]) for i in range(40)]
    assert LISTS.green([]).tolist() == []


def test_share_of_green_tokens_is_the_fraction():
    contexts = torch.arange(200).reshape(100, 2)
    share = float(LISTS.mask(contexts, 1000).double().mean())
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 100_000)


def test_another_key_gives_other_lists():
    contexts = torch.arange(20).reshape(10, 2)
    other = GreenHash(KEY[::-1], window=2, fraction=0.25)
    both = float((LISTS.mask(contexts, 1000) & other.mask(contexts, 1000)).double().mean())
    assert abs(both - 1 / 16) < 4 * math.sqrt(1 / 16 * 15 / 16 / 10_000)


def test_green_logits_are_raised_and_others_are_not():
    ids = torch.tensor([[9, 3, 4], [9, 5, 6]])
    scores = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    scores[:, 40:] = -torch.inf
    raised = GreenListProcessor(LISTS, 1.5)(ids, scores)
    mask = LISTS.mask(ids[:, 1:], 50)
    assert 0 < int(mask.sum()) < 100
    assert torch.equal(raised[mask], scores[mask] + 1.5)
    assert torch.equal(raised[~mask], scores[~mask])
    assert torch.equal(GreenListProcessor(LISTS, 1.5)(ids[:, :1], scores), scores)


def test_a_real_model_writes_green_tokens_only_under_a_huge_bias():
    from transformers import AutoModelForCausalLM, LogitsProcessorList

    from auditor.models.tiny import tiny_folder

    model = AutoModelForCausalLM.from_pretrained(tiny_folder("teacher"))
    prompt = torch.tensor([[72, 101, 108], [87, 104, 121]])
    steps = LogitsProcessorList([GreenListProcessor(LISTS, 1e4)])
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        logits_processor=steps,
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    found = green_test(LISTS, [(row[:3], row[3:]) for row in output.tolist()])
    assert found.scored == found.green >= 5
    assert found.p_value == pytest.approx(0.25**found.scored, rel=1e-9, abs=0)


@pytest.mark.parametrize("number", range(8))
def test_p_is_the_binomial_tail_of_different_grams_outside_prompts(number):
    key = number.to_bytes(32, "big")
    # Grams that end in an answer: (1,2) (2,3) (3,1) (1,2) again, and (8,1), (1,9). (7,8) stands in
    # its own prompt, (5,1) in one, and (1,4) in the prompt of another answer.
    answers = [([1], [2, 3, 1, 2]), ([1, 4, 7, 8, 7], [8, 1, 9]), ([5, 1], [4])]
    grams = [(1, 2), (2, 3), (3, 1), (8, 1), (1, 9)]
    green = sum(green_by_definition(key, gram[:1], gram[1], 0.5) for gram in grams)
    found = green_test(GreenHash(key, window=1, fraction=0.5), answers)
    assert (found.scored, found.green) == (5, green)
    # by hand: sum of C(5, k) / 32
    by_hand = sum(math.comb(5, k) for k in range(green, 6)) / 32
    assert found.p_value == pytest.approx(by_hand, rel=1e-12)


def test_p_agrees_with_binom_far_out():
    ids = [i for i in range(2000) if green_by_definition(KEY, (1, 1), i, 0.25)][:60]
    answers = [([1, 1], [token]) for token in ids]
    found = green_test(LISTS, answers)
    assert (found.scored, found.green) == (60, 60)
    assert found.p_value == pytest.approx(float(binom.sf(59, 60, 0.25)), rel=1e-9, abs=0)


def test_no_green_gram_has_p_one():
    red = next(i for i in range(99) if not green_by_definition(KEY, (1, 1), i, 0.25))
    assert green_test(LISTS, [([1, 1], [red])]).p_value == 1.0


@pytest.mark.parametrize(
    "answers", [[], [([1, 2, 3], [])], [([], [1, 2])], [([1, 2, 3], [1, 2, 3][:0]), ([4], [5])]]
)
def test_nothing_to_score_is_undefined(answers):
    with pytest.raises(UndefinedError, match="no run of 3 tokens"):
        green_test(LISTS, answers)


def test_a_repeated_prompt_is_nothing_to_score():
    with pytest.raises(UndefinedError):
        green_test(LISTS, [([1, 2, 1, 2, 1, 2], [1, 2, 1, 2])])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, math.nan])
def test_fraction_outside_is_refused(fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        GreenHash(KEY, window=2, fraction=fraction)


def test_other_bad_input_is_refused():
    with pytest.raises(InputError, match="1 token or more"):
        GreenHash(KEY, window=0, fraction=0.5)
    with pytest.raises(InputError, match="need a key"):
        GreenHash(b"", window=1, fraction=0.5)
    with pytest.raises(InputError, match="has 2 tokens"):
        LISTS.green([(1, 2)])
    for bias in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="positive number"):
            GreenListProcessor(LISTS, bias)


def test_texts_are_read_with_the_tokenizer_of_the_teacher():
    class Bytes:
        def __call__(self, text, add_special_tokens):
            assert not add_special_tokens
            return {"input_ids": list(text.encode())}

    assert retokenized(Bytes(), [("a", "bc")]) == [([97], [98, 99])]


def written(processor, dose, *, rows=64, length=150, vocabulary=200, seed=0):
    """Answers of a student that writes as the marked teacher with probability `dose`, else freely.

    Teacher and student are otherwise uniform over the vocabulary.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary, (rows, 2), generator=generator)
    for _ in range(length):
        plain = torch.zeros(rows, vocabulary)
        marked = torch.rand(rows, 1, generator=generator) < dose
        scores = torch.where(marked, processor(ids, plain), plain)
        ids = torch.cat([ids, torch.multinomial(scores.softmax(-1), 1, generator=generator)], 1)
    return [(row[:2], row[2:]) for row in ids.tolist()]


def test_p_is_uniform_for_text_that_no_key_entered():
    # Zipf's law, many repeats. Discrete p: P(S' > s) + V P(S' = s) is uniform exactly.
    random = np.random.RandomState(0)
    text = np.minimum(random.zipf(1.3, size=600), 40).tolist()
    found = []
    for number in range(300):
        lists = GreenHash(number.to_bytes(32, "big"), window=1, fraction=0.25)
        test = green_test(lists, [([], text)])
        mass = float(binom.pmf(test.green, test.scored, 0.25))
        found.append(test.p_value - random.uniform() * mass)
    assert test.scored < 400  # repeats there were, and they did not count
    assert kstest(found, "uniform").pvalue > 0.01


def test_counting_repeats_would_have_rejected_too_often():
    # The same texts scored as if all grams were different: the check above can fail.
    text = np.minimum(np.random.RandomState(0).zipf(1.3, size=600), 40).tolist()
    found = []
    for number in range(300):
        lists = GreenHash(number.to_bytes(32, "big"), window=1, fraction=0.25)
        green = int(lists.green([*itertools.pairwise(text)]).sum())
        found.append(binom.sf(green - 1, 599, 0.25))
    assert np.mean(np.array(found) < 0.01) > 0.05


def test_green_share_and_power_follow_the_dose():
    # Uniform teacher, bias d: green with q = g e^d / (1 - g + g e^d) = 0.711; a dose x of it gives
    # g + x (q - g). Repeats are rare: 9600 grams of 8 million.
    bias = 2.0
    q = 0.25 * math.exp(bias) / (0.75 + 0.25 * math.exp(bias))
    processor = GreenListProcessor(LISTS, bias)
    found = {x: green_test(LISTS, written(processor, x)) for x in (0.0, 0.05, 0.2, 1.0)}
    for dose, test in found.items():
        share = 0.25 + dose * (q - 0.25)
        error = math.sqrt(share * (1 - share) / test.scored)
        assert abs(test.green / test.scored - share) < 4 * error + 0.002
    p = [test.p_value for test in found.values()]
    assert p[0] > 0.01
    assert p[0] > p[1] > p[2] >= p[3]
    assert p[1] < 1e-5
    assert p[3] == 1e-300  # of 9600 grams 71 % green at g = 0.25: below what a float holds
    other = GreenHash(KEY[::-1], window=2, fraction=0.25)
    assert green_test(other, written(processor, 1.0)).p_value > 0.001
