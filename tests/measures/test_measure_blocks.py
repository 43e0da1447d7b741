"""Measures of vectors and of residuals work in blocks: the same values, and no whole copy."""

from dataclasses import replace

import numpy as np
import pytest
from measure_worlds import P, blend, pair_of, subject
from traced_memory import peak

from auditor import mapped, outputs
from auditor.kernels import mutual_knn, neighbours
from auditor.measures import _pool, _rows, get
from auditor.measures._residual import residual_moments
from auditor.measures._run import apply
from auditor.outputs import OutputSet, Pair
from auditor.types import Access, ModelRef

MEASURES = (
    "residual-correlation",
    "own-residual-correlation",
    "idiosyncratic-agreement",
    "embedding-cosine",
    "embedding-cka",
    "embedding-mmd",
    "embedding-mutual-knn",
    "hidden-cka",
    "hidden-mutual-knn",
)
E = 64


def world():
    alpha, beta = subject("alpha", 1), subject("beta", 2)
    return pair_of(alpha, blend(alpha, beta, 0.3))


def measured(name, pair):
    found = apply(get(name), pair, seed=4, resamples=20)
    return found.value, *found.interval


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("numbers", [1, 500])
def test_a_value_does_not_depend_on_the_blocks(name, numbers, monkeypatch):
    whole = measured(name, world())
    monkeypatch.setattr(_rows, "_NUMBERS", numbers)
    monkeypatch.setattr(_pool, "_NUMBERS", numbers)
    assert measured(name, world()) == pytest.approx(whole, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("numbers", [1, 130, 900])
def test_sums_of_residuals_are_the_same_to_the_last_digit(numbers, monkeypatch):
    random = np.random.RandomState(3)
    probe = np.sort(random.randint(0, 9, 40))  # some probes may have no position
    values, weight = tuple(random.normal(size=(6, 40))), random.random_sample(40)
    families = ("a", "b", "c", "d")
    whole = residual_moments(values, families, (probe, weight, 10))
    monkeypatch.setattr(_pool, "_NUMBERS", numbers)
    assert np.array_equal(residual_moments(values, families, (probe, weight, 10)), whole)


def test_sums_of_positions_in_any_order_are_complete(monkeypatch):
    monkeypatch.setattr(_pool, "_NUMBERS", 4)
    probe, values = np.array([2, 0, 2, 1, 0, 2]), np.array([[1.0], [2], [4], [8], [16], [32]])
    found = _pool.summed_blocks(probe, 2, lambda block: values[block], 4)
    assert found.tolist() == [[18.0], [8.0], [37.0], [0.0]]  # probe 3 has no position


def test_neighbours_over_blocks_of_columns_are_those_of_the_whole(monkeypatch):
    # Small integers: many equal cosines, so that the order by index decides.
    x, y = np.random.RandomState(5).randint(-1, 2, (2, 61, 3)).astype(np.float64)
    whole = mutual_knn(x, y, 7)
    monkeypatch.setattr(neighbours, "_CHUNK", 8)
    monkeypatch.setattr(neighbours, "_COLUMNS", 16)
    assert np.array_equal(mutual_knn(x, y, 7), whole)


def test_vectors_taken_to_a_file_are_those_taken_in_memory(monkeypatch):
    pair = world()
    chosen = [5, 0, *range(7, P)]
    held = pair.take(chosen).reference.embeddings
    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    monkeypatch.setattr(outputs, "_BLOCK_ROWS", 5)
    in_file = pair.take(chosen).reference.embeddings
    assert isinstance(in_file, np.memmap)
    assert np.array_equal(in_file, held)
    assert np.array_equal(held, pair.reference.embeddings[chosen])


def mapped_pair(folder, count):
    """A pair of `count` probes whose float32 vectors lie in files; nothing else is stored."""
    sides = []
    for seed in (1, 2):
        path = folder / f"{count}-{seed}.npy"
        np.save(path, np.random.RandomState(seed).normal(size=(count, 1, E)).astype(np.float32))
        sides.append(
            OutputSet(
                subject=f"s{seed}",
                model=ModelRef(spec="tiny:x", access=Access.TEXT),
                probes=world().probes[:1] * count,
                embeddings=np.load(path, mmap_mode="r"),
            )
        )
    return Pair(reference=sides[0], suspect=sides[1])


@pytest.mark.parametrize(
    "name", ["embedding-cosine", "embedding-cka", "embedding-mmd", "embedding-mutual-knn"]
)
def test_memory_of_embeddings_does_not_follow_the_probes(name, tmp_path, monkeypatch):
    # A copy in float64 of one side is 512 bytes a probe; what is left are values of a probe.
    monkeypatch.setattr(_rows, "_NUMBERS", 1 << 12)
    monkeypatch.setattr("auditor.measures.embedding_mmd._BLOCK", 1 << 15)
    monkeypatch.setattr(neighbours, "_CHUNK", 64)
    monkeypatch.setattr(neighbours, "_COLUMNS", 64)
    pairs = [mapped_pair(tmp_path, count) for count in (500, 1500)]
    apply(get(name), pairs[0], seed=0, resamples=0)  # what is imported at the first call
    small, large = (peak(lambda p=p: apply(get(name), p, seed=0, resamples=0)) for p in pairs)
    assert (large - small) / 1000 < 100


def test_memory_of_residuals_does_not_follow_the_positions(monkeypatch):
    # All at once, a position takes 6 divisions of 6 numbers: 288 bytes and as much again.
    monkeypatch.setattr(_pool, "_NUMBERS", 1 << 12)
    random = np.random.RandomState(0)

    def needed(positions):
        values = tuple(random.normal(size=(6, positions)))
        places = (np.arange(positions) * 20 // positions, np.ones(positions), 20)
        return peak(lambda: residual_moments(values, ("a", "b", "c", "d"), places))

    needed(1000)
    # 20 probes each: a block holds one whole probe of a twentieth of the positions.
    assert (needed(9000) - needed(3000)) / 6000 < 60


def test_a_probe_lacks_what_is_not_finite_or_zero():
    rows = np.ones((5, 2, 3), dtype=np.float32)
    rows[1, 0, 2], rows[2, 1], rows[3, 0, 0] = np.nan, 0.0, 0.0
    assert _rows.present(rows).tolist() == [True, False, False, True, True]
    lacking = replace(world(), reference=replace(world().reference, embeddings=None))
    assert apply(get("embedding-cosine"), lacking, seed=0).value is None


def test_vectors_of_a_mapped_file_are_read_without_a_warning(tmp_path):
    # Stored in float64 nothing would be converted; torch warns of arrays that are read-only.
    pair = mapped_pair(tmp_path, 30)
    np.save(tmp_path / "h.npy", np.random.RandomState(0).normal(size=(30, 5)))
    states = np.load(tmp_path / "h.npy", mmap_mode="r")
    sides = (replace(side, hidden=states) for side in (pair.reference, pair.suspect))
    found = measured("hidden-cka", Pair(reference=next(sides), suspect=next(sides)))
    assert found[0] == pytest.approx(1.0, abs=1e-12)
