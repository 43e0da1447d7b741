"""Hand-worked values of the difficulty-adjusted agreement on errors. The right answer is 7."""

import numpy as np
import pytest
from measure_worlds import small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.panel import Control
from auditor.types import Answer, Probe

NAME = "answer-adjusted-error"


def asked(count, *, checkable=True):
    answer = Answer(kind="number", value="7") if checkable else None
    return tuple(Probe(id=f"p{i}", category="c", text="?", answer=answer) for i in range(count))


def control(name, *replies, family=None):
    """One reply, or a list of them, a probe."""
    texts = tuple((one,) if isinstance(one, str) else tuple(one) for one in replies)
    return Control(name=name, role="independent", family=family or name, texts=texts)


def pair_of(ours, theirs, pool, **changes):
    texts = tuple(
        [[one] if isinstance(one, str) else one for one in side] for side in (ours, theirs)
    )
    return small_pair(texts=texts, asked=changes.get("asked", asked(len(ours))), pool=tuple(pool))


def kappa(*arguments, **changes):
    return get(NAME)(pair_of(*arguments, **changes))


# Item 0: two controls err, one with the reference's 8. Item 1: none errs. Item 2: three err, two
# with the reference's 8; the suspect is right there, so it tells only how common such errors are.
POOL = [
    control("a", "8", "7", "8"),
    control("b", "9", "7", "8"),
    control("c", "7", "7", "9"),
]


def test_the_chance_of_an_error_is_that_of_the_controls_on_the_same_item():
    # q = (1 + 0 + 2)/(2 + 0 + 3) = 3/5; exp_0 = (1 + 3/5)/(2 + 1) = 8/15, exp_1 = 3/5: 17/15
    # obs = 1 + 0, so (1 - 17/15) / (2 - 17/15) = -2/13
    assert kappa(["8", "5", "8"], ["8", "6", "7"], POOL) == pytest.approx(-2 / 13)


def test_an_error_that_the_controls_make_too_is_worth_less():
    # Item 0, shared, and item 1, not. q = 1 in the first case: exp = (2 + 1)/(2 + 1) = 1 and, with
    # no control wrong, 1/1 = 1: nothing is left open. With other errors of the controls q = 0:
    # exp = 0 and 0, so 1 of 2.
    with pytest.raises(UndefinedError, match="all share it"):
        kappa(["8", "5"], ["8", "6"], [control("a", "8", "7"), control("b", "8", "7")])
    rare = kappa(["8", "5"], ["8", "6"], [control("a", "9", "7"), control("b", "1", "7")])
    assert rare == pytest.approx(0.5)
    # One of the two makes it: q = 1/2, exp = (1 + 1/2)/3 = 1/2 and 1/2: (1 - 1)/(2 - 1) = 0.
    half = kappa(["8", "5"], ["8", "6"], [control("a", "9", "7"), control("b", "8", "7")])
    assert half == pytest.approx(0.0, abs=1e-12)


def test_a_subject_that_shares_every_error_scores_one():
    assert kappa(["8", "5", "8"], ["8", "5", "8"], POOL) == 1.0


def test_models_of_one_family_count_as_one():
    twins = [control("a", "8", "9", family="f"), control("b", "8", "9", family="f")]
    other = control("c", "9", "9")
    # w_0 = 1 + 1, s_0 = 1; w_1 = 2, s_1 = 0; q = 1/4; exp = (5/4)/3 + (1/4)/3 = 1/2
    # obs = 1: (1 - 1/2)/(2 - 1/2) = 1/3
    found = kappa(["8", "5"], ["8", "6"], [*twins, other])
    assert found == pytest.approx(1 / 3)
    assert kappa(["8", "5"], ["8", "6"], [twins[0], other]) == pytest.approx(found)


def test_repeats_of_a_control_share_its_weight_and_repeats_of_the_pair_are_averaged():
    # Control replies 8 and 7: w = 1/2, s = 1/2, q = 1: exp = (1/2 + 1)/(1/2 + 1) = 1 where the
    # reference says 8; where it says 5, s = 0. Reference 8, 5; suspect 8, 6:
    # q = (1/2 + 0)/(1/2 + 1/2) = 1/2; exp = (1/2 + 1/2)/(3/2) = 2/3 and (1/2)/(3/2) = 1/3
    # obs - exp = 1 - 1 = 0
    found = kappa([["8", "5"]], [["8", "6"]], [control("a", ["8", "7"])])
    assert found == pytest.approx(0.0, abs=1e-12)


def test_replies_without_an_answer_are_no_errors():
    known = kappa(["8", "5", "8"], ["8", "6", "7"], POOL)
    rows = ["8", "5", "8", "8"], ["8", "6", "7", "no idea"]
    pool = [control(c.name, *[r[0] for r in c.texts], "who knows") for c in POOL]
    assert kappa(*rows, pool) == pytest.approx(known)


def models(random, traps, answers, count):
    """Return (count, items) answers: each model errs on an item as often as the item is hard."""
    wrong = random.random_sample((count, len(traps))) < 0.6
    trapped = random.random_sample(wrong.shape) < traps
    other = random.choice(answers, size=wrong.shape)
    return np.where(wrong, np.where(trapped, "13", other), "7")


def test_suspects_that_fall_for_everybodys_traps_score_about_zero():
    random = np.random.RandomState(3)
    values, shared, copied = [], [], []
    for _ in range(25):  # pool and reference anew: one pool's noise is common to its suspects
        traps = np.where(random.random_sample(40) < 0.5, 0.9, 0.05)
        ours, theirs, *others = models(random, traps, ["1", "2", "3"], 8).tolist()
        pool = [control(f"c{i}", *row) for i, row in enumerate(others)]
        pair = pair_of(ours, theirs, pool)
        values.append(get(NAME)(pair))
        shared.append(np.nanmean(get("answer-shared-error")(pair)))
        taken = np.where(random.random_sample(40) < 0.7, ours, theirs).tolist()
        copied.append(get(NAME)(pair_of(ours, taken, pool)))
    # Unadjusted, two models share more than half of their errors.
    assert np.mean(shared) > 0.5
    assert abs(np.mean(values)) < 2.5 * np.std(values) / 5
    assert np.mean(copied) > np.mean(values) + 2.0 * np.std(values)


@pytest.mark.parametrize(
    ("ours", "theirs", "pool", "reason"),
    [
        (["7"], ["8"], POOL[:1], "answered wrongly by both"),
        (["8"], ["8"], [control("a", "7")], "no control is wrong where the reference is"),
        (["8"], ["8"], [control("a", "8"), control("b", "8")], "all share it"),
        (["8"], ["8"], [Control(name="a", role="base", family="a")], "no control of the pool has"),
        (["8"], ["8"], [], "no control without a link"),
    ],
)
def test_undefined_with_the_reason(ours, theirs, pool, reason):
    pool = [one if one.texts is None else control(one.name, one.texts[0][0]) for one in pool]
    with pytest.raises(UndefinedError, match=reason):
        kappa(ours, theirs, pool)


def test_undefined_where_no_probe_is_checkable():
    with pytest.raises(UndefinedError, match="no probe has a checkable answer"):
        kappa(["8"], ["8"], [control("a", "8")], asked=asked(1, checkable=False))


def test_the_record_names_the_replies_of_the_controls():
    found = apply(get(NAME), pair_of(["8", "5", "8"], ["8", "6", "7"], POOL), seed=0)
    assert {"records/reference", "records/suspect", "records/a"} <= set(found.inputs)
