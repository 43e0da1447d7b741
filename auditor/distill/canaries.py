"""Canary sets: equally likely sequences of which one is trained on and the others stay sealed.

A model that never saw the training data finds the inserted sequence no likelier than its siblings:
its rank among them is uniform whatever the model is (Wei et al. 2024, arXiv 2402.10892). The test
is `auditor.kernels.exact_ranks`.

A sequence is a carrier sentence with random words or digits. The words have five letters each and
the digits stand alone, so that all members of a set are equally long in bytes, and most tokenizers
give a digit or a common word one token. Within a set only the random part differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditor.distill.marks import KeyStream, checked_key
from auditor.errors import InputError
from auditor.kernels.exact_ranks import marked_rank, rank_sum_p, smallest_p
from auditor.types import Array

Form = Literal["words", "digits"]

_NOUNS = (
    "apple beach bread brick chair chalk cloud coast couch crane crown dance field flame flute "
    "fruit glass globe grain grape grass green heart honey horse house juice knife lemon light "
    "metal mouse music night ocean olive onion paint paper pearl piano plant plate queen radio "
    "river robin salad scarf sheep shell shirt smile snake spoon stone storm sugar table tiger "
    "tower train water wheat"
)
WORDS = tuple(_NOUNS.split())
"""64 words of five letters, 6 bits each. Another list or carrier needs a new schema of the spec."""
_CARRIERS: dict[Form, str] = {
    "words": "The words on page {} are: {}.",
    "digits": "The number on page {} is: {}.",
}
_ALPHABETS: dict[Form, Sequence[str]] = {"words": WORDS, "digits": tuple("0123456789")}


@dataclass(frozen=True, slots=True)
class CanarySet:
    """Exchangeable sequences, pairwise different."""

    sequences: tuple[str, ...]
    """(m + 1) texts."""
    chosen: int
    """Which one is trained on."""

    @property
    def inserted(self) -> str:
        """The sequence that is trained on."""
        return self.sequences[self.chosen]

    @property
    def siblings(self) -> tuple[str, ...]:
        """The (m) sequences that stay sealed."""
        return self.sequences[: self.chosen] + self.sequences[self.chosen + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTest:
    """Where the inserted sequences stand among their siblings."""

    ranks: tuple[int, ...]
    """Of each set, in 1, ..., m + 1: 1 where the inserted sequence is the likeliest."""
    p_value: float
    """Of the sum of the ranks, exact."""


def canary_sets(
    key: bytes, sets: int, *, siblings: int, form: Form = "words", length: int = 8
) -> tuple[CanarySet, ...]:
    """Return the sets that a key draws.

    Sequences of a set are drawn without replacement and the chosen place by a stream of its own:
    every sequence of a set is equally likely to be the inserted one.

    Args:
        key: 32 bytes.
        sets: how many are drawn; the first ones do not depend on it.
        siblings: m, sealed sequences of each set.
        form: of the random part.
        length: words or digits of the random part.

    Raises:
        InputError: a key of another length, no sets or siblings, an unknown form, or fewer
            sequences of this form and length than two times the size of a set.
    """
    checked_key(key)
    if form not in _CARRIERS:
        raise InputError(f"canaries have no form {form!r}", hint="choose words or digits")
    if min(sets, siblings, length) < 1:
        raise InputError("canaries need a set, a sibling and a length, at least 1 of each")
    if len(_ALPHABETS[form]) ** length < 2 * (siblings + 1):
        raise InputError(
            f"{length} {form} give too few different sequences for {siblings} siblings",
            hint="raise marks.canaries.length",
        )
    return tuple(_drawn(key, number, siblings, form, length) for number in range(sets))


def canary_documents(sets: Sequence[CanarySet], repetitions: int) -> list[str]:
    """Return (sets * repetitions) documents to add to the training part: each set's inserted text.

    Add them after the holdout was split off, or some would never be trained on.

    Raises:
        InputError: less than one repetition.
    """
    if repetitions < 1:
        raise InputError(f"canaries cannot be repeated {repetitions} times", hint="give 1 or more")
    return [one.inserted for _ in range(repetitions) for one in sets]


def canary_test(sets: Sequence[CanarySet], losses: Sequence[Array]) -> CanaryTest:
    """Return the test of a model's losses on all sequences of all sets.

    Args:
        sets: drawn from the key revealed.
        losses: of each set (m + 1,) negative log-likelihoods in nats, in the order of `sequences`.

    Raises:
        InputError: losses of another number of sets or sequences.
        UndefinedError: a loss is not finite.
    """
    shapes = [np.shape(of_set) for of_set in losses]
    if shapes != [(len(one.sequences),) for one in sets] or not sets:
        raise InputError("give one loss for each sequence of each canary set")
    ranks = tuple(
        marked_rank(float(of_set[one.chosen]), np.delete(of_set, one.chosen))
        for one, of_set in zip(sets, losses, strict=True)
    )
    return CanaryTest(ranks=ranks, p_value=rank_sum_p(ranks, [len(one.sequences) for one in sets]))


def require_reach(sets: int, siblings: int, alpha: float) -> None:
    """Check that the combined test of all sets can reach the level alpha.

    Raises:
        InputError: its smallest possible p-value is above alpha.
    """
    floor = smallest_p([siblings + 1] * sets)
    if floor > alpha:
        raise InputError(
            f"{sets} canary set(s) of {siblings} siblings give no p-value below {floor:.3g}: the "
            f"level {alpha:g} cannot be reached",
            hint="raise marks.canaries.siblings or marks.canaries.sets",
        )


def _drawn(key: bytes, number: int, siblings: int, form: Form, length: int) -> CanarySet:
    alphabet, carrier = _ALPHABETS[form], _CARRIERS[form]
    stream = KeyStream(key, "canary", number, "sequences")
    parts: dict[str, None] = {}
    while len(parts) < siblings + 1:
        drawn = [alphabet[stream.below(len(alphabet))] for _ in range(length)]
        parts[" ".join(drawn)] = None
    chosen = KeyStream(key, "canary", number, "chosen").below(siblings + 1)
    return CanarySet(tuple(carrier.format(number + 1, part) for part in parts), chosen)
