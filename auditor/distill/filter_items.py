"""What a filter reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.distill.on_demand import OnDemand
from auditor.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A document, a prompt, or an answer with its prompt."""

    text: str
    prompt: str = ""
    """Empty where `text` answers nothing."""


class PickedItems(OnDemand[Item]):
    """Some of a list of items, each fetched when it is asked for: texts may be on disk."""

    def __init__(self, items: Sequence[Item], positions: Array) -> None:
        self._items = items
        self.positions = positions
        """(n,) int64 places in the list."""

    def __len__(self) -> int:
        return len(self.positions)

    def member(self, index: int) -> Item:
        """Return one item."""
        return self._items[int(self.positions[index])]

    def __iter__(self) -> Iterator[Item]:
        if len(self.positions) == len(self._items):
            return iter(self._items)  # in one pass, where they are on disk
        return (self._items[position] for position in self.positions.tolist())
