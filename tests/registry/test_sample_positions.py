import math

import pytest
from registry_world import SEVEN_B
from traced_memory import peak

from auditor.registry.positions import (
    MOST_OF_A_MODEL,
    MOST_OF_A_TENSOR,
    WINDOW,
    Place,
    place_of,
    sampled_elements,
    share_of_a_tensor,
    windows,
)

BIG = Place("layers.N.mlp.up_proj.weight", 3, 11_008, 4096)


def test_a_tensor_has_the_place_of_its_name_without_the_layer():
    assert place_of("layers.12.mlp.up_proj.weight", (8, 4)) == Place(
        "layers.N.mlp.up_proj.weight", 12, 8, 4
    )
    assert place_of("embed_tokens.weight", (5, 4)) == Place("embed_tokens.weight", -1, 5, 4)
    # More digits than a layer has are part of the name.
    assert place_of(f"layers.{'9' * 5000}.w", (8, 4)) == Place(f"layers.{'9' * 5000}.w", -1, 8, 4)
    # Experts: the first number is the layer, the second stays in the role; axes before are rows.
    assert place_of("layers.2.mlp.experts.7.up_proj", (3, 8, 4)).rows == 24
    assert place_of("layers.2.mlp.experts.7.up_proj.weight", (8, 4)).role.endswith(
        "experts.7.up_proj.weight"
    )


def test_a_small_tensor_is_read_whole_and_in_order():
    found = windows(Place("a", 0, 3, WINDOW + 10), seed=0)
    assert [(w.row, w.start, w.stop) for w in found] == [
        (row, start, stop)
        for row in range(3)
        for start, stop in ((0, WINDOW), (WINDOW, WINDOW + 10))
    ]


def test_positions_depend_on_seed_role_layer_and_size_alone():
    first = windows(BIG, 0)
    assert windows(Place(BIG.role, 3, 11_008, 4096), 0) == first
    for other, seed in (
        (BIG, 1),
        (Place("layers.N.mlp.gate_proj.weight", 3, 11_008, 4096), 0),
        (Place(BIG.role, 4, 11_008, 4096), 0),
        (Place(BIG.role, 3, 11_007, 4096), 0),
    ):
        assert windows(other, seed) != first


def test_a_smaller_sample_is_part_of_a_larger_one():
    assert set(windows(BIG, 0, 50_000)) < set(windows(BIG, 0))


@pytest.mark.parametrize("columns", [96, 4096, 11_008])
def test_a_sample_stays_in_its_bounds_and_overlaps_nowhere(columns):
    place = Place("x", 0, 60_000, columns)
    found = windows(place, 7)
    assert sum(w.stop - w.start for w in found) <= MOST_OF_A_TENSOR
    assert sum(w.stop - w.start for w in found) > MOST_OF_A_TENSOR - WINDOW
    assert len(set(found)) == len(found)
    assert all(0 <= w.row < 60_000 and 0 <= w.start < w.stop <= columns for w in found)
    assert all(w.start % WINDOW == 0 for w in found)  # the start of a block of every ggml type


def test_of_very_many_windows_a_few_are_drawn_without_listing_all():
    # 60 million rows of one element: a list of them all would take 480 MB.
    place = Place("x", 0, 60_000_000, 1)
    assert peak(lambda: windows(place, 0)) < 150e6
    found = windows(place, 0)
    assert len(set(found)) == len(found) == MOST_OF_A_TENSOR
    assert list(found) == sorted(found)
    assert found[-1].row > 0.99 * 60_000_000
    assert set(windows(place, 0, 5000)) < set(found)
    assert set(found) != set(windows(place, 1))


def test_a_7b_model_is_sampled_within_100_to_300_mb_by_its_shapes_alone():
    assert sum(math.prod(shape) for shape in SEVEN_B.values()) == 6_738_415_616
    elements = sum(sampled_elements(SEVEN_B, 0).values())
    # 226 matrices of 262,144 elements and 65 norms of 4,096: 59,510,784 at most.
    assert 100e6 < 2 * elements < 300e6  # float16, bfloat16
    assert 100e6 < 4 * elements < 300e6  # float32
    assert elements <= 226 * 262_144 + 65 * 4_096


def test_a_model_of_many_tensors_gets_less_of_each():
    places = [Place("experts", n, 2048, 4096) for n in range(1000)]
    assert share_of_a_tensor(places) == MOST_OF_A_MODEL // 1000
    # 100 tensors of 1,000 elements are read whole; the other 900 share what is left of the total.
    small = [Place("norm", n, 1, 1000) for n in range(100)]
    assert share_of_a_tensor(small + places[:900]) == (MOST_OF_A_MODEL - 100 * 1000) // 900
    assert share_of_a_tensor([]) == MOST_OF_A_TENSOR
