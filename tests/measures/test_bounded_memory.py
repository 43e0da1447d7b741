"""What is worked on in blocks, so that memory does not follow the number of probes, is the same."""

import numpy as np
import pytest
from measure_worlds import small_pair
from traced_memory import peak

from auditor import mapped, outputs
from auditor.kernels import swaps
from auditor.measures import _resample, get
from auditor.outputs import POSITION, taken_rows
from auditor.panel import TEMPERATURES, Crossing
from auditor.types import Probe


@pytest.mark.parametrize("cells", [1, 100, 1 << 20])
def test_swapped_totals_are_those_of_the_whole_matrix(cells, monkeypatch):
    monkeypatch.setattr(swaps, "_CELLS", cells)
    random = np.random.RandomState(0)
    x, y = random.randint(0, 3, (2, 23, 11))
    signs = np.where(random.random_sample((37, 23)) < 0.5, -1, 1)
    bits = np.packbits(signs.T < 0, axis=1)
    total, swapped = swaps.swapped_totals(x, y, bits, 37)
    h = swaps.hamming_h(x, y)
    assert total == h.sum()
    assert np.array_equal(swapped, swaps.swapped_sums(h, signs))


@pytest.mark.parametrize("cells", [1, 130])
def test_blocks_of_half_samples_are_those_of_one_draw(cells, monkeypatch):
    whole = _resample.half_samples(13, seed=5, resamples=40)
    monkeypatch.setattr(_resample, "_CELLS", cells)
    monkeypatch.setattr(_resample, "_DRAWN", 3 * 13)
    blocks = list(_resample.half_sample_blocks(13, seed=5, resamples=40))
    assert max(map(len, blocks)) == max(1, cells // 13)
    assert np.array_equal(np.concatenate(blocks), whole)
    assert (whole.sum(axis=1) == 6).all()


def test_an_interval_does_not_depend_on_the_blocks_of_its_draws(monkeypatch):
    values = np.random.RandomState(1).normal(size=17)

    def intervals():
        return (
            _resample.mean_interval(values, seed=3, resamples=60),
            _resample.half_sample_interval(
                0.0, 17, lambda chosen: chosen @ values, seed=3, resamples=60
            ),
        )

    whole = intervals()
    monkeypatch.setattr(_resample, "_BLOCK", 40)
    monkeypatch.setattr(_resample, "_CELLS", 40)
    assert intervals()[0] == whole[0]
    assert intervals()[1] == pytest.approx(whole[1], rel=1e-12)  # the product rounds by its shape


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [4, 1, 3], [2]])
def test_rows_taken_to_a_file_are_those_taken_in_memory(chosen, monkeypatch):
    random = np.random.RandomState(2)
    rows = np.zeros(50, dtype=POSITION)
    rows["probe"], rows["token"] = random.randint(0, 5, 50), np.arange(50)
    rows["js"] = random.random_sample(50)
    held = taken_rows(rows, np.array(chosen), 5)
    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    monkeypatch.setattr(outputs, "_BLOCK_ROWS", 7)
    in_file = taken_rows(rows, np.array(chosen), 5)
    assert isinstance(in_file, np.memmap)
    assert not in_file.flags.writeable
    assert in_file.tobytes() == held.tobytes()
    # By hand: the rows of each chosen probe in turn, in their order, numbered anew.
    expected = [
        (new, t) for new, old in enumerate(chosen) for t in np.flatnonzero(rows["probe"] == old)
    ]
    assert list(zip(in_file["probe"], in_file["token"], strict=True)) == expected


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [4, 1, 3]])
def test_a_crossing_taken_to_a_file_is_the_one_taken_in_memory(chosen, monkeypatch):
    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    logprob = np.random.RandomState(3).normal(size=(2, 3, 5, 2, len(TEMPERATURES)))
    whole = Crossing(
        scorers=("r", "c"), authors=("s", "r", "c"), logprob=logprob, bytes=logprob[0, ..., 0]
    )
    taken = whole.take(np.array(chosen))
    assert taken is whole or isinstance(taken.logprob, np.memmap)
    assert np.array_equal(taken.logprob, logprob[:, :, chosen])
    assert np.array_equal(taken.bytes, logprob[0, ..., 0][:, chosen])


def test_memory_of_the_swap_test_does_not_follow_the_probes(monkeypatch):
    monkeypatch.setattr(swaps, "_CELLS", 1 << 13)
    peaks = []
    for count in (100, 100, 300):  # the first also loads measures
        texts = [[f"reply {number}"] for number in range(count)]
        asked = tuple(Probe(id=f"p{i}", category="c", text="x") for i in range(count))
        pair = small_pair(texts=(texts, texts[::-1]), asked=asked)
        peaks.append(peak(lambda pair=pair: get("equality-mmd")(pair)))
    # The signs of a probe are 1,250 bytes, the symbols of its two replies 800.
    assert peaks[2] - peaks[1] < 200 * 500
