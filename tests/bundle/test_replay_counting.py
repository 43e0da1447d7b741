"""The counting in replay.py that is done in whole tables, against plain counting one by one."""

import math
import random
from itertools import permutations

import numpy as np
import pytest
from replay_world import replay_module
from sacrebleu.metrics.chrf import CHRF

replay = replay_module()
ALPHABETS = {
    "few letters": "ab \n",
    "a language": "abcdefghijklmnopqrstuvwxyz ,.",
    "more than 255 letters": "".join(map(chr, range(0x4E00, 0x4F80))),
    "more than 1023 letters": "".join(map(chr, range(0x4E00, 0x9000))),
    "beyond the first plane": "a\U0001f389\U0001f3fb\u0301 ",
}


def replies(alphabet, count):
    draws = random.Random(1)
    lengths = (0, 1, 2, 3, 5, 6, 7, 40, 2000)
    return [
        tuple("".join(draws.choices(alphabet, k=draws.choice(lengths))) for _ in range(2))
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", ALPHABETS)
def test_chrf_in_tables_is_that_of_sacrebleu(kind):
    pairs = [*replies(ALPHABETS[kind], 120), ("", ""), (" ", "a"), ("same text", "same text")]
    chrf = CHRF()
    for (ours, theirs), found in zip(pairs, replay._chrf_scores(pairs), strict=True):
        if not ours.strip() and not theirs.strip():
            assert math.isnan(found)
        else:
            wanted = min(chrf.sentence_score(theirs, [ours]).score / 100.0, 1.0)
            assert found == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_pairs_of_several_tables_keep_their_order(monkeypatch):
    pairs = replies(ALPHABETS["a language"], 60)
    whole = list(replay._chrf_scores(pairs))
    monkeypatch.setattr(replay, "_BLOCK_PAIRS", 7)
    monkeypatch.setattr(replay, "_BLOCK_CHARACTERS", 300)
    assert np.array_equal(whole, list(replay._chrf_scores(pairs)), equal_nan=True)


def test_lone_surrogates_are_letters_that_differ():
    ours, theirs = "\ud800abc", "\udfffabc"
    (score,) = replay._chrf_scores([(ours, theirs)])
    # By hand: 3 of 4, 2 of 3, 1 of 2, 0 of 1 n-grams of 4 orders; precision and recall are equal.
    assert score == pytest.approx((3 / 4 + 2 / 3 + 1 / 2 + 0) / 4, rel=1e-12)


@pytest.mark.parametrize("repeats", [2, 8, 9, 12, 13, 17])
def test_patterns_of_swaps_are_the_draws(repeats):
    uniform = replay._stream("probe", "equality-mmd").random_sample((9999, repeats))
    drawn = np.where(uniform < 0.5, -1, 1)
    if 1 << repeats <= replay._MOST_PATTERNS:
        patterns = replay._sign_patterns(repeats)
        assert np.array_equal(patterns[replay._drawn_pattern("probe", repeats)], drawn)
    assert np.array_equal(replay._swaps("probe", repeats), drawn)


@pytest.mark.parametrize("repeats", [2, 5, 12])
def test_sums_by_pattern_are_those_of_each_probe_alone(repeats):
    draws = np.random.RandomState(repeats)
    x, y = draws.randint(0, 3, (2, 70, repeats, 100)).astype(np.int32)
    names = [f"probe-{i}" for i in range(len(x))]
    observed, null = replay._swapped_patterns(names, x, y)
    alone = [replay._swapped(*one) for one in zip(x, y, map(swaps_of(repeats), names), strict=True)]
    assert observed == sum(own for own, _ in alone)
    assert np.array_equal(null, sum(swapped for _, swapped in alone))


def swaps_of(repeats):
    return lambda name: replay._swaps(name, repeats)


@pytest.mark.parametrize("cells", [1, 700, 1 << 20])
@pytest.mark.parametrize("itself", [True, False])
def test_sums_of_the_replies_kernel_are_those_of_the_definition(monkeypatch, cells, itself):
    monkeypatch.setattr(replay, "_KERNEL_CELLS", cells)
    draws = np.random.RandomState(0)
    x, y = draws.normal(size=(13, 3, 8)), draws.normal(size=(13, 2, 8))
    x, y = (rows / np.linalg.norm(rows, axis=2, keepdims=True) for rows in (x, y))
    y = x if itself else y
    weight = np.stack([np.ones(13), draws.randint(0, 2, 13), draws.random_sample(13)], axis=1)
    wanted = np.zeros(3)
    for i, j in permutations(range(13), 2):
        k = [math.exp(-sum((a - b) ** 2) / 2) for a in x[i] for b in y[j]]
        wanted += weight[i] * weight[j] * sum(k) / len(k)
    assert replay._kernel_sums(x, y, weight) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("count", [3, 300])
def test_swapped_sums_are_those_of_the_definition(count):
    draws = np.random.RandomState(0)
    x, y = draws.randint(0, 5, (2, count, 100)).astype(np.int32)
    signs = np.where(draws.random_sample((4, count)) < 0.5, -1, 1).astype(np.int8)

    def h(i, j):
        k = [(x[i] == x[j]), (y[i] == y[j]), (x[i] == y[j]), (y[i] == x[j])]
        return int(k[0].sum() + k[1].sum() - k[2].sum() - k[3].sum())

    table = np.zeros((count, count))
    for i, j in permutations(range(count), 2):
        table[i, j] = h(i, j)
    observed, null = replay._swapped(x, y, signs)
    assert observed == table.sum()
    assert null.tolist() == [float(e @ table @ e) for e in signs.astype(float)]


def test_divergence_of_listed_tokens_is_that_of_the_definition():
    draws = np.random.RandomState(0)
    kind = [("probe", "<i4"), ("ids", "<i4", (6,)), ("logprobs", "<f4", (6,)), ("tail", "<f8")]
    a, b = np.zeros((2, 700), dtype=kind)
    for rows in (a, b):
        rows["ids"] = np.argsort(draws.random_sample((700, 9)), axis=1)[:, :6]
        mass = draws.dirichlet(np.ones(7), size=700)
        rows["logprobs"], rows["tail"] = np.log(mass[:, :6]), mass[:, 6]
    found = replay._least_divergence(a, b)

    def term(x, y):
        middle = (x + y) / 2
        return (
            (x * math.log(x / middle) if x else 0.0) + (y * math.log(y / middle) if y else 0.0)
        ) / 2

    for row in (0, 511, 512, 699):
        p = dict(zip(a["ids"][row].tolist(), np.exp(a["logprobs"][row].astype(float)), strict=True))
        q = dict(zip(b["ids"][row].tolist(), np.exp(b["logprobs"][row].astype(float)), strict=True))
        s, t = float(a["tail"][row]), float(b["tail"][row])
        total = sum(term(p[one], q[one]) for one in p.keys() & q.keys())
        left = sum(p[one] for one in p.keys() - q.keys())
        right = sum(q[one] for one in q.keys() - p.keys())
        joined = term(left + s, right + t)
        total += joined if left * right <= s * t else term(left, t) + term(s, right)
        assert found[row] == pytest.approx(total, rel=1e-9)
