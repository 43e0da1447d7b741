import math
from dataclasses import replace

import numpy as np
import pytest
from measure_positions import topk_of
from measure_worlds import probes

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.outputs import OutputSet, Pair
from auditor.panel import Control
from auditor.types import Access, ModelRef

AGREEMENT, GAP = get("first-token-agreement"), get("first-token-gap")


def lists(*shares: list[float], probe: list[int] | None = None, k: int = 3):
    """Return rows of (n, V) probabilities, one probe each."""
    with np.errstate(divide="ignore"):
        rows = topk_of(np.log(np.array(shares, dtype=np.float64))[:, None, :], k)
    if probe is not None:
        rows["probe"] = probe
    return rows


def firsts(*tokens: int, probe: list[int] | None = None):
    """Return rows at which the likeliest of tokens 0 to 4 are these."""
    shares = [[0.6 if i == token else 0.1 for i in range(5)] for token in tokens]
    return lists(*shares, probe=probe)


def pair_of(ours, theirs, *controls, count: int | None = None) -> Pair:
    asked = probes(count or len(ours))
    sides = [
        OutputSet(
            subject=name,
            model=ModelRef(spec=f"tiny:{name}", access=Access.TOPK),
            probes=asked,
            answers=rows,
        )
        for name, rows in (("reference", ours), ("suspect", theirs))
    ]
    pool = tuple(
        Control(name=f"c{i}", role="independent", family=f"f{i}", answers=rows)
        for i, rows in enumerate(controls)
    )
    return Pair(reference=sides[0], suspect=sides[1], pool=pool)


def test_a_worked_example_of_agreement():
    # probe:         0  1  2  3  4
    # reference      1  1  1  1  1
    # controls       1  2  2  2  2
    #                1  2  1  2  3
    #                2  2  1  3  4
    # mode           1  2  1  2  2, 3 or 4 (one vote each)
    # stands alone   -  D  -  D  D
    # suspect        1  1  2  1  2     follows at 1 and 3, of 1, 3 and 4: 2/3
    controls = firsts(1, 2, 2, 2, 2), firsts(1, 2, 1, 2, 3), firsts(2, 2, 1, 3, 4)
    pair = pair_of(firsts(1, 1, 1, 1, 1), firsts(1, 1, 2, 1, 2), *controls)
    assert AGREEMENT(pair) == pytest.approx(2 / 3)
    # Without probe 4: 2 of 2.
    chosen = np.array([[True, True, True, True, False]])
    assert AGREEMENT.subsets(pair, chosen) == pytest.approx([1.0])


def test_probes_that_one_side_does_not_list_do_not_count():
    # Alone at 0 and 1, followed at 1; the suspect's list of probe 0 is lacking: 1 of 1.
    controls = [firsts(2, 2, 2)] * 3
    pair = pair_of(firsts(1, 1, 2), firsts(1, 2, probe=[1, 2]), *controls)
    assert AGREEMENT(pair) == 1.0
    found = apply(AGREEMENT, pair, seed=0)
    assert found.probes == 2


def test_a_control_without_one_of_the_probes_is_left_out():
    whole = [firsts(2, 2, 2)] * 3
    # This one would make token 1 a common choice.
    short = firsts(1, 1, probe=[0, 1])
    pair = pair_of(firsts(1, 1, 1), firsts(1, 1, 2), *whole, *[short] * 4)
    assert AGREEMENT(pair) == pytest.approx(2 / 3)
    with pytest.raises(UndefinedError, match="2 controls of the pool list tokens"):
        AGREEMENT(pair_of(firsts(1, 1, 1), firsts(1, 1, 2), *whole[:2], short))


def test_a_reference_that_begins_as_everybody_is_undefined():
    pair = pair_of(firsts(2, 2), firsts(2, 1), *[firsts(2, 2)] * 3)
    with pytest.raises(UndefinedError, match="nothing in its choices is its own"):
        AGREEMENT(pair)


def test_a_worked_example_of_the_gap():
    # Two tokens, all listed. Suspect and reference (1/2, 1/2): divergence 0. Controls (3/4, 1/4),
    # (1, 0) twice; the nearest is the first: with the middle (5/8, 3/8),
    # JSD = 1/2 [1/2 ln(4/5) + 1/2 ln(4/3)] + 1/2 [3/4 ln(6/5) + 1/4 ln(2/3)]
    even, near, far = (lists(row, k=2) for row in ([0.5, 0.5], [0.75, 0.25], [1 - 1e-12, 1e-12]))
    expected = (
        0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3)
        + 0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3)
    ) / 2  # fmt: skip
    assert GAP(pair_of(even, even, near, far, far)) == pytest.approx([expected], abs=1e-7)


def test_what_is_outside_a_list_is_one_bucket():
    # The suspect lists token 0 (1/2) only; the reference (1/2, 1/4, 1/4) may be equal: 0. The
    # controls (1/4, 3/4): at least buckets (1/4, 3/4) against (1/2, 1/2), as in the example above.
    ours = lists([0.5, 0.25, 0.25], k=3)
    theirs = lists([0.5, 0.25, 0.25], k=1)
    other = lists([0.25, 0.375, 0.375], k=3)
    # Their first token is another: listed as 1, 2, 0.
    expected = (
        0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3)
        + 0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3)
    ) / 2  # fmt: skip
    assert GAP(pair_of(ours, theirs, *[other] * 3)) == pytest.approx([expected], abs=1e-7)


def test_lists_that_leave_most_outside_say_too_little():
    ours = lists([0.4, 0.3, 0.3], k=3)
    short = lists([0.4, 0.3, 0.3], k=1)
    with pytest.raises(UndefinedError, match=r"that suspect does not list have 0\.60"):
        GAP(pair_of(ours, short, *[ours] * 3))


def test_order_of_the_rows_is_irrelevant():
    controls = [firsts(2, 3, 2)] * 3
    pair = pair_of(firsts(1, 1, 2), firsts(1, 2, 2), *controls)
    turned = replace(pair.suspect, answers=pair.suspect.answers[::-1].copy())
    assert AGREEMENT(replace(pair, suspect=turned)) == AGREEMENT(pair) == 0.5
    assert GAP(replace(pair, suspect=turned)) == pytest.approx(GAP(pair))
