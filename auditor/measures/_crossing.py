"""The crossing of a pair, as what the controls leave unexplained of each scorer.

Per reply x and scorer s, log p_s(x) is kept as z_s(x) = log p_s(x) - mean of log p_c(x) over the
controls c, in nats: what makes the reply easy or hard for everybody is gone, and weights that sum
to 1 give the same result on z as on log p. Averages are nats over bytes of all replies together,
each byte counting alike: the mean of each reply's nats a byte would be that of its few shortest
replies, where one token decides.

A control's own replies are no evidence of what others find likely, so it does not score them. A
value that a control lacks, for that or another reason, is replaced by the mean of the controls
that have one: z = 0. A reply without a value of the reference, with fewer than `FEWEST_VALUES`
values of controls or without bytes does not count. Nor does one that its author gave word for word
to several probes: it was not drawn for the probe. Counted each time, a canned refusal on a quarter
of the probes lifted every independent model over the threshold of imitation; counted once, it did
so where it was all that was left of a stratum.

A suspect that answers some probes only is compared with the controls on those, and on a stratum
only where it answered half of it: a filter chooses what it refuses, and what is left of a stratum
is neither a sample of it nor enough.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.outputs import Pair
from auditor.panel import TEMPERATURES, Crossing
from auditor.types import Array, Probe

FEWEST = 3
"""Controls that must score, and controls whose own replies must be scored."""
FEWEST_VALUES = 2
NO_LANGUAGE = "zxx"
"""Language tag (ISO 639-2) of probes that are no natural text: out of distribution."""
STRATA = ("natural", "ood")
_REFERENCE_AUTHOR = 1
_UNIT_TEMPERATURE = TEMPERATURES.index(1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """Replies as F = 1 + K scorers find them, relative to the mean of the K controls.

    Scorer 0 is the reference. A counts the controls that wrote replies.
    """

    scorers: tuple[str, ...]
    authors: tuple[str, ...]
    """(A)."""
    suspect: Array
    """(P, N, G, F) z of the suspect's replies at each temperature; 0 where one does not count."""
    pool: Array
    """(A, P, N, F) z of the controls' replies, at temperature 1."""
    bytes: Array
    """(1 + A, P, N) UTF-8 bytes of each reply, 0 where it does not count; row 0 is the suspect."""
    own: Array
    """(A, K) bool: the author is the scorer."""
    level: Array
    """(P, G) log-likelihood of the suspect's replies under the mean control."""
    pool_level: Array
    """(A, P, G) the same of the controls' replies."""
    stratum: Array
    """(P,) index into `STRATA`."""

    @property
    def answered(self) -> Array:
        """(P,) bool: a reply of the suspect to the probe counts."""
        answered: Array = (self.bytes[0] > 0).any(axis=1)
        return answered


def residuals(pair: Pair) -> Residuals:
    """Return the crossing of a pair relative to its controls.

    Raises:
        UndefinedError: there is no crossing or pool, fewer than `FEWEST` controls score or have
            scored replies, or no reply of the suspect was scored.
    """
    pair.require("pool")
    pair.require("crossing")
    crossing = pair.crossing
    if crossing is None:
        raise UndefinedError("no crossing was collected")
    values = _values(crossing)  # (A + 1, P, N, G, S)
    _check(crossing, values)
    given = np.isfinite(values[..., 1:])
    number = given.sum(axis=-1)  # (A + 1, P, N, G)
    mean = np.where(given, values[..., 1:], 0.0).sum(axis=-1) / np.maximum(number, 1)
    counts = _counting(values) & said_once(pair, crossing)
    z = np.where(np.isfinite(values) & counts[..., None, None], values - mean[..., None], 0.0)
    level = np.where(counts[..., None], mean, 0.0).sum(axis=2)  # (A + 1, P, G)
    authors = crossing.authors[_REFERENCE_AUTHOR + 1 :]
    return Residuals(
        scorers=crossing.scorers,
        authors=authors,
        suspect=z[0],
        pool=z[1:, :, :, _UNIT_TEMPERATURE],
        bytes=np.where(counts, np.delete(crossing.bytes, _REFERENCE_AUTHOR, axis=0), 0.0),
        own=np.array([[name == scorer for scorer in crossing.scorers[1:]] for name in authors]),
        level=level[0],
        pool_level=level[1:],
        stratum=np.array([_stratum(probe) for probe in pair.probes], dtype=np.int64),
    )


def _values(crossing: Crossing) -> Array:
    """Return (A + 1, P, N, G, S) nats of the replies of all but the reference; NaN: none."""
    authors = np.delete(np.arange(len(crossing.authors)), _REFERENCE_AUTHOR)
    values = crossing.logprob[:, authors]
    values[~np.isfinite(values)] = np.nan
    values[:, crossing.bytes[authors] <= 0] = np.nan
    # A scorer counts for a reply with all temperatures, or not at all.
    values[np.isnan(values).any(axis=-1)] = np.nan
    for scorer, name in enumerate(crossing.scorers):
        for place, author in enumerate(authors.tolist()):
            if author and crossing.authors[author] == name:
                values[scorer, place] = np.nan
    return np.moveaxis(values, 0, -1)


def _counting(values: Array) -> Array:
    """Return (A + 1, P, N) bool: the reply counts."""
    known = np.isfinite(values[..., 0, :])  # every temperature has the same
    return known[..., 0] & (known[..., 1:].sum(axis=-1) >= FEWEST_VALUES)


def said_once(pair: Pair, crossing: Crossing) -> Array:
    """Return (A + 1, P, N) bool: the author gave the reply to no other probe."""
    shape = crossing.bytes.shape[1:]
    texts = {control.name: control.texts for control in pair.pool}
    texts[pair.suspect.subject] = pair.suspect.texts
    authors = [name for i, name in enumerate(crossing.authors) if i != _REFERENCE_AUTHOR]
    once = np.ones((len(authors), *shape), dtype=bool)
    for row, name in enumerate(authors):
        said = texts.get(name) or ()
        probes = Counter(text for replies in said for text in set(replies))
        for probe, replies in enumerate(said):
            for repeat, text in enumerate(replies[: shape[1]]):
                once[row, probe, repeat] = probes[text] == 1
    return once


def _stratum(probe: Probe) -> int:
    return STRATA.index("ood" if probe.language == NO_LANGUAGE else "natural")


def _check(crossing: Crossing, values: Array) -> None:
    heard: Array = np.asarray(np.isfinite(values).any(axis=(1, 2, 3)))  # (A + 1, S)
    if not heard[0, 0]:
        raise UndefinedError(f"the reference scored no reply of {crossing.authors[0]}")
    scoring, written = int(heard[0, 1:].sum()), int(heard[1:, 0].sum())
    if scoring < FEWEST:
        raise UndefinedError(
            f"{scoring} controls of the pool scored the suspect's replies; a synthetic control "
            f"needs {FEWEST}"
        )
    if written < FEWEST:
        raise UndefinedError(
            f"the replies of {written} controls of the pool were scored by the reference; fitting "
            f"a synthetic control needs {FEWEST}"
        )
