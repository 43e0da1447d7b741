import numpy as np
import pytest
from measure_worlds import probes, small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.outputs import POSITION
from auditor.panel import Control

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
