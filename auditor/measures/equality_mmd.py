"""Do two endpoints answer as one and the same model? A test on their replies."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.kernels.swaps import hamming_h, swapped_sums, swapped_totals
from auditor.mapped import mapped
from auditor.measures._equality import LOWEST, RELABELLINGS, check_probes, draws_of, log10_p
from auditor.measures._registry import measure
from auditor.outputs import OutputSet, Pair
from auditor.texts import Replies
from auditor.types import Array, Probe

CHARACTERS = 100
"""Of each reply that are compared, from the first."""
_NOTHING = -1  # after the end of a reply: a symbol of its own, so that lengths count


@measure(
    "equality-mmd",
    version=1,
    group="identity",
    unit="log10 p",
    bounds=(LOWEST, 0.0),
    identical=0.0,
    closer="higher",
    symmetric=True,
    needs=("texts",),
    reduce="pooled",
    resampled=False,
)
def equality_mmd(pair: Pair) -> float:
    """Base-10 logarithm of the p-value that both sets of replies come from one and the same model.

    It answers "is it the same model?" (a changed endpoint, a substitution, quantisation), never
    "was one derived from the other?": a low value says "not the same", a value near 0 "no
    difference seen".

    Formula: the unbiased squared maximum mean discrepancy between the replies to one probe, summed
    over probes, with the kernel k(x, y) = number of the first 100 characters that are equal (the
    prompt-stratified Hamming kernel of Gao et al., Model Equality Testing, ICLR 2025). Repeat r of
    one and repeat r of the other are partners; terms between partners are left out, and the null
    swaps partners at random, 9,999 times: p = (1 + #{swapped >= observed}) / 10,000. Extra repeats
    of either are not used. With one repeat there is nothing to compare within a probe: replies of
    different probes are compared, and the swaps stay within each probe.

    Null: replies to one probe are exchangeable between the two: same weights, template, decoding.
    Exact for any number of repeats, also where both draw with the same random numbers (local
    models with one seed), since partners may depend on each other.

    Range: [-4, 0], 0 where all replies are equal. Symmetric.
    Degenerate: undefined with fewer than 8 probes.

    Pitfalls: any difference counts, also one of precision, of the server's own system prompt or of
    decoding: compare under one decoding. p = 0.3 is no proof of sameness: it depends on the number
    of probes and repeats. With one repeat it sees differences of style that all probes share, and
    few others. No evidence of a link or of its absence.
    """
    pair.require("texts")
    check_probes(len(pair.probes), "replies of both")
    x, y = _symbols(pair)
    if x.shape[1] == 1:
        observed, null = _across(pair.probes, x[:, 0], y[:, 0])
    else:
        observed, null = _within(pair.probes, x, y)
    return log10_p(observed, null)


def _symbols(pair: Pair) -> tuple[Array, Array]:
    """Return the common repeats of both as code points, (P, N, 100) int32 each."""
    sides = [_texts(outputs) for outputs in (pair.reference, pair.suspect)]
    repeats = min(len(replies) for side in sides for replies in side)
    if not repeats:
        raise UndefinedError("a probe has no reply")
    x, y = (_codes_of(side, repeats) for side in sides)
    return x, y


def _codes_of(side: Replies, repeats: int) -> Array:
    """Return (P, repeats, 100) int32."""

    def fill(codes: Array) -> None:
        for probe, replies in enumerate(side):
            codes[probe] = [_codes(text) for text in replies[:repeats]]

    return np.asarray(mapped((len(side), repeats, CHARACTERS), np.int32, fill))


def _texts(outputs: OutputSet) -> Replies:
    if outputs.texts is None:
        raise UndefinedError(f"no texts of {outputs.subject}")
    return outputs.texts


def _codes(text: str) -> list[int]:
    head = [ord(character) for character in text[:CHARACTERS]]
    return head + [_NOTHING] * (CHARACTERS - len(head))


def _within(probes: tuple[Probe, ...], x: Array, y: Array) -> tuple[float, Array]:
    """Return the sum over probes of their discrepancies, and (B,) of it with partners swapped."""
    observed, null = 0.0, np.zeros(RELABELLINGS)
    for probe, ours, theirs in zip(probes, x, y, strict=True):
        h = hamming_h(ours, theirs)
        observed += float(h.sum())
        null += swapped_sums(h, _signs(probe, x.shape[1]))
    return observed, null


def _across(probes: tuple[Probe, ...], x: Array, y: Array) -> tuple[float, Array]:
    """Return the discrepancy of one reply a probe, and (B,) of it with partners swapped."""

    def fill(bits: Array) -> None:
        for place, probe in enumerate(probes):
            bits[place] = np.packbits(_signs(probe, 1)[:, 0] < 0)

    # (P, B / 8): a bit for each sign, 1 for -1
    bits = np.asarray(mapped((len(probes), -(-RELABELLINGS // 8)), np.uint8, fill))
    return swapped_totals(x, y, bits, RELABELLINGS)


def _signs(probe: Probe, repeats: int) -> Array:
    """Return (B, repeats) int8 of -1 and 1."""
    uniform = draws_of(probe, "equality-mmd").random_sample((RELABELLINGS, repeats))
    return np.where(uniform < 0.5, np.int8(-1), np.int8(1))
