"""Where the reference stands alone among the controls, and whether the suspect follows it."""

from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._pool import control_columns, positioned_controls, summed_blocks
from auditor.measures._positions import column
from auditor.outputs import Pair
from auditor.types import Array

FEWEST = 3
"""Controls: of fewer, a most frequent choice is nobody's or everybody's."""
LEAST_SHOWN = 0.5
"""Share of the positions at which the suspect must show a token for the rest to stand for all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choices:
    """The likeliest token of each model at T positions; below 0 where it shows none."""

    probe: Array
    """(T,)."""
    reference: Array
    """(T,)."""
    suspect: Array
    """(T,)."""
    controls: tuple[Array, ...]
    """(T,) of each."""


def alone_and_followed(choices: Choices, probes: int) -> Array:
    """Return (P, 2): positions where the reference stands alone, and those where S follows it.

    It stands alone where its choice is none of those that most controls make. A position at which
    the suspect shows nothing does not count.

    Raises:
        UndefinedError: the suspect shows a token at fewer than `LEAST_SHOWN` of the positions.
    """
    ours, theirs, controls = choices.reference, choices.suspect, choices.controls
    shown = theirs >= 0
    if shown.sum() < LEAST_SHOWN * len(shown):
        raise UndefinedError(
            f"the suspect shows a token of the reference at {shown.sum()} of {len(shown)} positions"
        )

    def counts(block: slice) -> Array:
        votes, own = np.stack([control[block] for control in controls]), ours[block]
        # (t): how many controls vote as each control does; the most frequent choice has the largest
        most = np.stack([(votes == vote).sum(axis=0) for vote in votes]).max(axis=0)
        alone = ((votes == own).sum(axis=0) < most) & shown[block]
        return np.stack([alone, alone & (own == theirs[block])], axis=1).astype(np.float64)

    return summed_blocks(choices.probe, 2 * len(controls), counts, probes)


def share_followed(counts: Array) -> float:
    """Return the share from (P, 2) counts of `alone_and_followed`.

    Raises:
        UndefinedError: the reference never stands alone.
    """
    alone, followed = counts.sum(axis=0).tolist()
    if not alone:
        raise UndefinedError(
            "at every position the reference expects what most controls expect: nothing in its "
            "choices is its own"
        )
    return float(followed / alone)


def shares_followed(counts: Array, chosen: Array) -> Array:
    """Return (B,) the share on each of B subsets of the probes, (B, P); NaN: undefined."""
    sums = chosen.astype(np.float64) @ counts  # (B, 2)
    return np.divide(sums[:, 1], sums[:, 0], out=np.full(len(sums), np.nan), where=sums[:, 0] > 0)


def text_choices(pair: Pair) -> Choices:
    """Return the choices at the positions of the reference's text.

    From the full distributions, else from lists of likely tokens, whose first is the likeliest.

    Raises:
        UndefinedError: they are missing, or those of `FEWEST` controls.
    """
    if pair.positions is None:
        return _listed_choices(pair)
    controls = positioned_controls(pair, FEWEST)
    return Choices(
        probe=column(pair, "probe"),
        reference=column(pair, "argmax_a"),
        suspect=column(pair, "argmax_b"),
        controls=control_columns(controls, "argmax_b"),
    )


def _listed_choices(pair: Pair) -> Choices:
    pair.require("pool")
    pair.require("choices")
    ours, theirs = pair.reference.topk, pair.suspect.topk
    lists = [
        control.topk
        for control in pair.pool
        if control.topk is not None and control.tokenizer == pair.reference.model.tokenizer_digest
    ]
    return first_choices((ours, theirs), lists)


def first_choices(pair: tuple[Array | None, Array | None], lists: list[Array]) -> Choices:
    """Return the choices out of lists of likely tokens.

    Args:
        pair: rows of the reference and of the suspect.
        lists: rows of controls; those of other positions than the suspect's are left out.

    Raises:
        UndefinedError: rows are missing, the reference's are of other positions, or those of
            `FEWEST` controls are lacking.
    """
    ours, theirs = pair
    if ours is None or theirs is None or not np.array_equal(ours["probe"], theirs["probe"]):
        raise UndefinedError("the reference and the suspect do not list tokens at equal positions")
    known = [rows for rows in lists if np.array_equal(rows["probe"], theirs["probe"])]
    if len(known) < FEWEST:
        raise UndefinedError(
            f"{len(known)} controls of the pool list tokens at the positions of the pair; "
            f"{FEWEST} are needed"
        )
    return Choices(
        probe=theirs["probe"],
        reference=ours["ids"][:, 0],
        suspect=theirs["ids"][:, 0],
        controls=tuple(rows["ids"][:, 0] for rows in known),
    )
