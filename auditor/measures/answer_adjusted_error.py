"""Shared wrong answers beyond what the controls make of the same questions."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.answers import given_answer, is_correct
from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.outputs import OutputSet, Pair
from auditor.panel import Control
from auditor.texts import Replies
from auditor.types import Array, Probe


@dataclass(frozen=True, slots=True)
class _Sums:
    """Columns (P,) of sums, from which the statistic of any set of probes follows."""

    both: Array
    """Repeats where reference and suspect are both wrong, as a share of the repeats."""
    same: Array
    """Those of them with one answer."""
    usual: Array
    """Sum over ``both`` of s / (w + 1): what the controls say of each item."""
    open: Array
    """Sum over ``both`` of 1 / (w + 1): what they leave open."""
    wrong: Array
    """Control families' wrong replies against each wrong reply of the reference, w."""
    repeated: Array
    """Those of them with the reference's answer, s."""

    def kappa(self, chosen: Array) -> Array:
        """Return (B,): the statistic on each of B sets of probes, (B, P) bool.

        Raises:
            UndefinedError: it has no value on one of them.
        """
        take = np.asarray(chosen, dtype=np.float64)
        both, wrong = take @ self.both, take @ self.wrong
        if (both == 0).any():
            raise UndefinedError("no checkable probe was answered wrongly by both")
        if (wrong == 0).any():
            raise UndefinedError(
                "no control is wrong where the reference is: which errors are usual is unknown"
            )
        share = take @ self.repeated / wrong  # of the controls' errors, over all items
        left = both - (take @ self.usual + share * (take @ self.open))
        if (left <= 1e-9 * both).any():
            raise UndefinedError("every error of the controls is the reference's own: all share it")
        return 1.0 - (both - take @ self.same) / left


def subset_kappas(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the statistic on each of B subsets of the probes, (B, P) bool."""
    return _sums(pair).kappa(chosen)


@measure(
    "answer-adjusted-error",
    version=1,
    group="idiosyncrasy",
    unit="share above chance",
    bounds=(-float("inf"), 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("texts", "pool"),
    reduce="pooled",
    subsets=subset_kappas,
)
def answer_adjusted_error(pair: Pair) -> float:
    """Agreement on wrong answers beyond the controls' on the same items, scaled so that 1 is all.

    Formula: (sum obs - sum exp) / (sum (1 - exp)) over the probes and repeats where reference and
    suspect both answer wrongly; obs is 1 where the two wrong answers are equal. exp is the chance
    that another model which is wrong on this item gives the reference's wrong answer:
    (s + q) / (w + 1), with w the wrong replies of the controls, s those with the reference's
    answer (each family counts as one model, each model's repeats as one), and q the same share s/w
    over all items, which stands in where few controls err. CAPA's form (Goel et al. 2025, kappa_p =
    (c_obs - c_exp) / (1 - c_exp)), but with the chance taken from the controls item by item and not
    from evenly spread distractors, and only over common errors, so that ability does not enter.
    Reply r of the reference is compared with reply r of the suspect.

    Null: about 0, in expectation over models, for a suspect whose errors are those of any model;
    its spread is that of the controls, each measured against the others.

    Range: up to 1; negative where the suspect shares fewer errors than controls do. Not symmetric:
    the controls are compared with the reference's answers.
    Degenerate: undefined where no probe is checkable, no error is common, no control is wrong
    where the reference is, or the controls make each of its errors. A reply without a readable
    answer is no error. It counts how many errors are shared against how many are expected, not
    which: sharing one that is rare among the controls weighs no more than sharing a common one.

    Pitfalls: errors that come with common training data are shared without imitation: controls
    of the same data decide what is unusual. A control trained on the suspect's or the reference's
    outputs makes the shared errors look usual. A suspect that is never wrong leaves it undefined,
    which is no sign of independence.
    """
    return float(subset_kappas(pair, np.ones((1, len(pair.probes)), dtype=bool))[0])


def _sums(pair: Pair) -> _Sums:
    pair.require("texts")
    pair.require("pool")
    if all(probe.answer is None for probe in pair.probes):
        raise UndefinedError("no probe has a checkable answer")
    families = _families(pair.pool)
    if not families:
        raise UndefinedError("no control of the pool has replies")
    ours, theirs = _replies(pair.reference), _replies(pair.suspect)
    rows = [
        _row(probe, (ours[i], theirs[i]), [[model[i] for model in models] for models in families])
        for i, probe in enumerate(pair.probes)
    ]
    return _Sums(*np.array(rows, dtype=np.float64).reshape(-1, 6).T)


def _families(pool: Sequence[Control]) -> list[list[Replies]]:
    """Return the replies of each family's models that have any."""
    grouped: dict[str, list[Replies]] = {}
    for control in pool:
        if control.texts is not None:
            grouped.setdefault(control.family, []).append(control.texts)
    return list(grouped.values())


def _replies(outputs: OutputSet) -> Replies:
    if outputs.texts is None:
        raise UndefinedError(f"no texts of {outputs.subject}")
    return outputs.texts


def _row(
    probe: Probe,
    replies: tuple[Sequence[str], Sequence[str]],
    controls: Sequence[Sequence[Sequence[str]]],
) -> tuple[float, ...]:
    """Return the columns of `_Sums` of one probe; 0 where it cannot be checked."""
    pairs = list(zip(*replies, strict=False))
    if probe.answer is None or not pairs:
        return (0.0,) * 6
    errors: defaultdict[str, float] = defaultdict(float)
    for models in controls:
        for model in models:
            for answer in _wrong(probe, model):
                errors[answer] += 1.0 / (len(models) * len(model))
    wrong = sum(errors.values())
    sums = np.zeros(6)
    for ours, theirs in pairs:
        reference = _wrong(probe, [ours])
        if not reference:
            continue
        repeated = errors[reference[0]]
        sums[4:] += wrong, repeated
        suspect = _wrong(probe, [theirs])
        if suspect:
            same = suspect[0] == reference[0]
            sums[:4] += 1.0, same, repeated / (wrong + 1.0), 1.0 / (wrong + 1.0)
    return tuple(sums / len(pairs))


def _wrong(probe: Probe, replies: Sequence[str]) -> list[str]:
    """Return the wrong answers among replies; one that cannot be read is no answer."""
    answers = [given_answer(probe, text) for text in replies if is_correct(probe, text) is False]
    return [answer for answer in answers if answer is not None]
