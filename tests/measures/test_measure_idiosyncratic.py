import numpy as np
import pytest
from measure_positions import topk_of
from measure_worlds import probes, small_pair

from auditor.collect.topk import UNLISTED
from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.outputs import POSITION, OutputSet, Pair
from auditor.panel import Control
from auditor.types import Access, ModelRef

AGREEMENT = get("idiosyncratic-agreement")


def rows(first: list[int], probe: list[int] | None = None, ours: list[int] | None = None):
    """Return positions at which the model's likeliest tokens are `first`."""
    made = np.zeros(len(first), dtype=POSITION)
    made["probe"] = probe or [0] * len(first)
    made["argmax_a"] = ours or [0] * len(first)
    made["argmax_b"] = first
    return made


def pair_with(ours: list[int], theirs: list[int], *controls: list[int], probe=None):
    pool = tuple(
        Control(name=f"c{i}", role="independent", family=f"f{i}", positions=rows(first, probe))
        for i, first in enumerate(controls)
    )
    count = max(probe) + 1 if probe else 1
    return small_pair(positions=rows(theirs, probe, ours), pool=pool, asked=probes(count))


def test_a_worked_example():
    # position:      0  1  2  3  4
    # reference      1  1  1  1  1
    # controls       1  2  2  2  2
    #                1  2  1  2  3
    #                2  2  1  3  4
    # mode           1  2  1  2  2, 3 or 4 (one vote each)
    # stands alone   -  D  -  D  D
    # suspect        1  1  2  1  2     follows at 1 and 3, of 1, 3 and 4: 2/3
    pair = pair_with([1] * 5, [1, 1, 2, 1, 2], [1, 2, 2, 2, 2], [1, 2, 1, 2, 3], [2, 2, 1, 3, 4])
    assert AGREEMENT(pair) == pytest.approx(2 / 3)


def test_a_tie_that_includes_the_reference_is_no_idiosyncrasy():
    # position 0: votes 1, 1, 2, 2; the reference's 1 is among the most frequent. Position 1: alone.
    pair = pair_with([1, 1], [1, 2], [1, 2], [1, 2], [2, 2], [2, 2])
    assert AGREEMENT(pair) == 0.0


def test_every_position_counts_alike_over_probes():
    # probe 0: alone at 3 positions, followed at all; probe 1: alone at 1, not followed: 3/4
    pair = pair_with([1] * 4, [1, 1, 1, 2], *[[2] * 4] * 3, probe=[0, 0, 0, 1])
    assert AGREEMENT(pair) == pytest.approx(0.75)


def test_a_reference_that_is_like_everybody_is_undefined():
    with pytest.raises(UndefinedError, match="nothing in its choices is its own"):
        AGREEMENT(pair_with([1, 2], [1, 2], *[[1, 2]] * 3))


def test_two_controls_are_too_few():
    with pytest.raises(UndefinedError, match=r"2 controls .* 3 are needed"):
        AGREEMENT(pair_with([1], [1], [2], [2]))


@pytest.mark.parametrize("lacking", [None, rows([2, 2])])
def test_a_control_of_other_positions_is_left_out(lacking):
    pair = pair_with([1], [1], [2], [2], [2])
    *kept, last = pair.pool
    other = Control(name="c3", role="base", family="f3", positions=lacking)
    moved = rows([2])
    moved["token"] = 5
    third = Control(name="c2", role=last.role, family="f2", positions=moved)
    full = small_pair(positions=pair.positions, pool=(*pair.pool, other), asked=probes(1))
    assert AGREEMENT(full) == 1.0
    short = small_pair(positions=pair.positions, pool=(*kept, third, other), asked=probes(1))
    found = apply(AGREEMENT, short, seed=0)
    assert found.value is None
    assert "2 controls of the pool" in found.undefined


def listed(first: list[int], probe: list[int] | None = None):
    """Return lists of likely tokens whose likeliest are `first`; below 0: none is shown."""
    shares = [[0.6 if i == token else 0.1 for i in range(5)] for token in first]
    made = topk_of(np.log(np.array(shares))[:, None, :], 2)
    made["probe"] = probe or [0] * len(first)
    for row, token in zip(made, first, strict=True):
        if token < 0:
            row["ids"], row["logprobs"], row["tail"] = [-1, -2], UNLISTED, 1.0
    return made


def served_pair(ours: list[int], theirs: list[int], *controls: list[int], tokenizer=None) -> Pair:
    """Return a pair of which lists of the same positions are known, of tokenizer ``own``."""
    sides = [
        OutputSet(
            subject=name,
            model=ModelRef(spec=f"tiny:{name}", access=Access.TOPK, tokenizer_digest=digest),
            probes=probes(1),
            topk=listed(first),
        )
        for name, first, digest in (("reference", ours, "own"), ("suspect", theirs, tokenizer))
    ]
    pool = tuple(
        Control(
            name=f"c{i}", role="independent", family=f"f{i}", topk=listed(first), tokenizer="own"
        )
        for i, first in enumerate(controls)
    )
    return Pair(reference=sides[0], suspect=sides[1], pool=pool, why={"positions": "the reason"})


WORKED = ([1] * 5, [1, 1, 2, 1, 2], [1, 2, 2, 2, 2], [1, 2, 1, 2, 3], [2, 2, 1, 3, 4])
"""Of `test_a_worked_example`: 2/3."""


@pytest.mark.parametrize("tokenizer", [None, "own"])
def test_lists_of_likely_tokens_give_the_same_value(tokenizer):
    pair = served_pair(*WORKED, tokenizer=tokenizer)
    found = apply(AGREEMENT, pair, seed=0)
    assert found.value == pytest.approx(2 / 3)
    assert "arrays/topk/suspect.npy" in found.inputs
    assert "arrays/topk/c2.npy" in found.inputs


def test_positions_at_which_the_suspect_shows_nothing_do_not_count():
    # Alone at 1, 3 and 4; nothing is shown at 1: followed at 3 of 3 and 4.
    ours, _, *controls = WORKED
    pair = served_pair(ours, [1, -1, 2, 1, 2], *controls)
    assert AGREEMENT(pair) == pytest.approx(1 / 2)


def test_less_than_half_of_the_positions_say_too_little():
    ours, _, *controls = WORKED
    with pytest.raises(UndefinedError, match="at 2 of 5 positions"):
        AGREEMENT(served_pair(ours, [1, -1, -1, 1, -1], *controls))


def test_lists_of_other_tokens_are_not_compared():
    found = apply(AGREEMENT, served_pair(*WORKED, tokenizer="another"), seed=0)
    assert found.undefined == "the reason"
    pair = served_pair(*WORKED)
    foreign = Control(
        name="c3", role="base", family="f3", topk=listed([1] * 5), tokenizer="another"
    )
    # As a fourth control its votes would take the reference's place at 3 and 4 from it.
    more = Pair(reference=pair.reference, suspect=pair.suspect, pool=(*pair.pool, foreign, foreign))
    assert AGREEMENT(more) == pytest.approx(2 / 3)
