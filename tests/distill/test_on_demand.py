"""Lists whose members are made when they are asked for behave as other lists."""

import pytest

from auditor.distill.on_demand import OnDemand


class Squares(OnDemand[int]):
    def __init__(self) -> None:
        self.made: list[int] = []

    def __len__(self) -> int:
        return 4

    def member(self, index: int) -> int:
        self.made.append(index)
        return index * index


def test_members_are_those_of_a_list() -> None:
    squares, listed = Squares(), [0, 1, 4, 9]
    assert list(squares) == listed
    assert (squares[-1], squares[2]) == (9, 4)
    for part in (slice(1, 3), slice(None, None, -2), slice(3, 99), slice(2, 2)):
        assert squares[part] == listed[part]


def test_only_what_is_asked_for_is_made() -> None:
    squares = Squares()
    assert squares[1:3] == [1, 4]
    assert squares.made == [1, 2]


@pytest.mark.parametrize("index", [4, -5])
def test_index_outside_the_list_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        Squares()[index]
