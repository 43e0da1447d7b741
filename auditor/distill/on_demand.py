"""Lists whose members are made when they are asked for: they may be on disk."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

Member = TypeVar("Member", covariant=True)


class OnDemand(Sequence[Member]):
    """A list that makes its members; a subclass gives its length and how to make one."""

    @abstractmethod
    def member(self, index: int) -> Member:
        """Return the member at an index from 0 to the length less 1."""

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Member]: ...
    def __getitem__(self, index: int | slice) -> Member | Sequence[Member]:
        """Return one member, or those of a slice, which are made at once."""
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self.member(place) for place in places]
        return self.member(places)
