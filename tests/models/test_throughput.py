"""Collection keeps a server as busy as the limit on concurrency allows, and recording costs little.

The figures of several limits stand in reports/benchmarks/collection.md. Here a busy machine must
not fail the test: replies take 0.1 s, and of five measurements one has to show it.
"""

import pytest
from throughput import measure, most_at_once, share


def test_shares_of_a_limit_are_those_of_a_drawing():
    # Two at once from 0 to 1, one from 1 to 2, and a last one that comes at 2: 3 of 4 seconds.
    times = [(0.0, 1.0), (0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert share(times, 2) == pytest.approx(3 / 4)
    assert most_at_once(times) == 2


def test_nine_tenths_of_the_limit_are_under_way_and_recording_costs_less_than_a_twentieth():
    found = []
    for _ in range(5):
        found.append(measure(8, 0.1, 1))
        if found[-1].full >= 0.9 and found[-1].overhead < 0.05:
            break
    assert max(one.most for one in found) == 8  # and never more
    assert found[-1].full >= 0.9, found
    assert found[-1].overhead < 0.05, found
