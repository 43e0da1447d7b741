"""What models refuse that are known by their replies alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Never

from auditor.errors import AccessError
from auditor.models.base import Encoded, Head
from auditor.types import Array, Probe, Score

if TYPE_CHECKING:
    import torch


class RepliesOnly(ABC):
    """The part of `auditor.models.base.Model` that needs more than replies: all of it refused."""

    @abstractmethod
    def refusal(self, what: str) -> AccessError:
        """Return the error that says that there is no `what`, and the remedy."""

    @property
    def longest(self) -> int | None:
        """None: nothing is read here."""
        return None

    @property
    def shares_prefixes(self) -> bool:
        """False."""
        return False

    def render(self, probe: Probe) -> str:
        """Return the contents of the probe: the template it was sent through is not known."""
        return prompt_text(probe)

    def encode(self, text: str) -> Encoded:
        """Refuse."""
        del text
        self._refuse("token ids")

    def score(self, texts: Sequence[str]) -> Iterator[Score]:
        """Refuse."""
        del texts
        self._refuse("log-probabilities of given text")

    def hidden(self, sequences: Sequence[Sequence[int]]) -> "Iterator[torch.Tensor]":
        """Refuse."""
        del sequences
        self._refuse("hidden states")

    def hidden_after(
        self, prefix: Sequence[int], endings: Sequence[Sequence[int]]
    ) -> "list[torch.Tensor]":
        """Refuse."""
        del prefix, endings
        self._refuse("hidden states")

    def head(self) -> Head:
        """Refuse."""
        self._refuse("unembedding")

    def tensors(self) -> Iterable[tuple[str, Array]]:
        """Refuse."""
        self._refuse("weights")

    def _refuse(self, what: str) -> Never:
        raise self.refusal(what)


def prompt_text(probe: Probe) -> str:
    """Return the words of a probe, its messages joined by newlines: how a record names it."""
    if probe.text is not None:
        return probe.text
    return "\n".join(message.content for message in probe.messages)
