"""Put two subjects of a case side by side, with the pool of controls that places them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from auditor.answered import Answered, load_answered
from auditor.case import Case
from auditor.errors import CaseError
from auditor.mapped import mapped
from auditor.outputs import POSITION, Pair
from auditor.panel import (
    CROSSING,
    MIXTURE,
    NEURON,
    NULL_ROLES,
    OWN,
    REDERIVATION,
    TEMPERATURES,
    TRANSCRIPT,
    Control,
    Crossing,
)
from auditor.stored import planned_probes, read_array, read_refs
from auditor.types import Array
from auditor.withheld import withheld_names

_BLOCK_ROWS = 1 << 12


def load_pair(case: Case, reference: str, suspect: str, *, alone: bool = False) -> Pair:
    """Return two subjects of a case as a pair, see `Pairs.load`."""
    return Pairs(case).load(reference, suspect, alone=alone)


class Pairs:
    """The pairs of one collected case. What the reference and controls answered is read once."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._subjects = case.kept_json("plan.json")["subjects"]
        self._refs = read_refs(case)
        self._read: dict[str, Answered] = {}
        # A suspect is in no pool, so it is not needed again.
        self._again = {s["name"] for s in self._subjects if s["role"] != "suspect"}

    def load(self, reference: str, suspect: str, *, alone: bool = False) -> Pair:
        """Return two subjects on the probes that both answered, and why something is missing.

        The pool holds the controls without a link to the reference, but none of the suspect's
        family and none with the suspect's weights: so a control is placed among the others.
        Alone: the pool stays empty.

        Raises:
            CaseError: one of them was not collected, or a file of it was changed.
        """
        case = self._case
        a, b = self._answered(reference), self._answered(suspect)
        why = _reasons(case, reference, suspect)
        pool = () if alone else tuple(map(self._control, self._pool_of(suspect)))
        mixture = _rows(case, "merge", suspect, MIXTURE)
        crossing = _crossing(case, (reference, suspect), pool)
        pair = Pair(
            reference=a.outputs,
            suspect=b.outputs,
            positions=None if "positions" in why else _rows(case, "agreement", suspect, POSITION),
            why=why,
            pool=pool,
            crossing=crossing,
            own=_own(case, suspect, crossing),
            neurons=_rows(case, "neurons", suspect, NEURON),
            span=read_array(case, "span", suspect),
            weight_cka=read_array(case, "weight_cka", suspect),
            transcripts=_transcripts(case, reference, suspect),
            rederivation=_rows(case, "rederivation", suspect, REDERIVATION),
            merge=mixture,
            parents=self._parents(mixture),
        )
        return pair.take(np.flatnonzero(a.answered & b.answered))

    def _answered(self, name: str) -> Answered:
        found = self._read.get(name) or load_answered(self._case, name)
        if name in self._again:
            self._read[name] = found
        return found

    def _pool_of(self, suspect: str) -> list[dict[str, Any]]:
        own = next(subject for subject in self._subjects if subject["name"] == suspect)
        return [
            subject
            for subject in self._subjects
            if subject["role"] in NULL_ROLES
            and subject["family"] != own["family"]
            and (subject["digest"] is None or subject["digest"] != own["digest"])
        ]

    def _parents(self, mixture: Array | None) -> tuple[str, ...]:
        if mixture is None or not len(mixture):
            return ()
        return tuple(self._subjects[i]["name"] for i in mixture["parents"][0].tolist() if i >= 0)

    def _control(self, subject: dict[str, Any]) -> Control:
        name = subject["name"]
        answered = self._answered(name)
        return Control(
            name=name,
            role=subject["role"],
            family=subject["family"],
            architecture=self._refs[name].architecture,
            positions=_rows(self._case, "agreement", name, POSITION),
            topk=answered.outputs.topk,
            answers=answered.outputs.answers,
            tokenizer=self._refs[name].tokenizer_digest,
            texts=answered.outputs.texts,
            transcript=_rows(self._case, "transcript", name, TRANSCRIPT),
        )


def _rows(case: Case, kind: str, subject: str, dtype: "np.dtype[Any]") -> Array | None:
    """Return a stored array of rows.

    Raises:
        CaseError: its columns are not those of this release.
    """
    rows = read_array(case, kind, subject)
    if rows is not None and rows.dtype != dtype:
        raise CaseError(f"{case.array(kind, subject)} has unknown columns")
    return rows


def _transcripts(case: Case, reference: str, suspect: str) -> tuple[Array, Array] | None:
    ours = _rows(case, "transcript", reference, TRANSCRIPT)
    theirs = _rows(case, "transcript", suspect, TRANSCRIPT)
    return None if ours is None or theirs is None else (ours, theirs)


def _crossing(case: Case, pair: tuple[str, str], pool: Sequence[Control]) -> Crossing | None:
    """Return who finds whose replies likely, or None where the reference scored nobody."""
    reference, suspect = pair
    scorers = [reference, *(control.name for control in pool)]
    files = {name: _rows(case, "crossing", name, CROSSING) for name in scorers}
    found = {name: rows for name, rows in files.items() if rows is not None}
    if reference not in found:
        return None
    authors = (suspect, reference, *(control.name for control in pool))
    plan = case.kept_json("plan.json")
    shape = (len(planned_probes(case)), plan["repeats"])
    number = {subject["name"]: index for index, subject in enumerate(plan["subjects"])}
    length = np.zeros((len(authors), *shape))
    place = {number[name]: index for index, name in enumerate(authors)}

    def fill(logprob: Array) -> None:
        logprob[...] = np.nan
        for scorer, rows in enumerate(found.values()):
            for author, part in _authored(rows, place):
                logprob[scorer, author, part["probe"], part["repeat"]] = part["logprob"]
                length[author, part["probe"], part["repeat"]] = part["bytes"]

    logprob = mapped((len(found), len(authors), *shape, len(TEMPERATURES)), np.float64, fill)
    return Crossing(scorers=tuple(found), authors=authors, logprob=logprob, bytes=length)


def _authored(rows: Array, place: dict[int, int]) -> Iterator[tuple[Array, Array]]:
    """Yield (n,) places of the authors, and their rows, a block of all rows at a time.

    Args:
        rows: CROSSING rows.
        place: number of an author in the plan -> its place; rows of others are left out.
    """
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = rows[start : start + _BLOCK_ROWS]
        part = part[np.isin(part["author"], list(place))]
        yield np.array([place[one] for one in part["author"].tolist()], dtype=np.int64), part


def _own(case: Case, suspect: str, crossing: Crossing | None) -> Array | None:
    """Return (P, N) nats of the suspect's replies under itself; None where nothing is known.

    Of a control that scored the replies of all, from among those scores.
    """
    if crossing is None:
        return None
    rows = _rows(case, "own", suspect, OWN)
    if rows is None:
        rows = _of_scorer(case, suspect)
    if rows is None:
        return None
    values = np.full(crossing.bytes.shape[1:], np.nan)
    same = crossing.bytes[0][rows["probe"], rows["repeat"]] == rows["bytes"]
    rows = rows[same & (rows["bytes"] > 0)]
    values[rows["probe"], rows["repeat"]] = rows["logprob"]
    return values


def _of_scorer(case: Case, name: str) -> Array | None:
    """Return OWN rows of a subject that scored its own replies among those of others."""
    crossed = _rows(case, "crossing", name, CROSSING)
    if crossed is None:
        return None
    subjects = case.kept_json("plan.json")["subjects"]
    place = next(i for i, subject in enumerate(subjects) if subject["name"] == name)
    crossed = crossed[crossed["author"] == place]
    rows = np.zeros(len(crossed), dtype=OWN)
    for column in ("probe", "repeat", "bytes", "tokens"):
        rows[column] = crossed[column]
    rows["logprob"] = crossed["logprob"][:, TEMPERATURES.index(1.0)]
    return rows


_FIELD_OF = {
    "agreement": "positions",
    "embeddings": "embeddings",
    "hidden": "hidden",
    "topk": "topk",
    "answers": "answers",
    "crossing": "crossing",
    "own": "own",
}
"""Kind of array -> field of a pair, of those that a redaction may leave out."""


def _reasons(case: Case, reference: str, suspect: str) -> dict[str, str]:
    why: dict[str, str] = {}
    for name in dict.fromkeys((reference, suspect)):
        for field, reason in case.read_json(f"collected/{name}.json")["missing"].items():
            why[field] = f"{why[field]}; {name}: {reason}" if field in why else f"{name}: {reason}"
    withheld = withheld_names(case)
    for kind, field in _FIELD_OF.items():
        if any(f"arrays/{kind}/{name}.npy" in withheld for name in (reference, suspect)):
            why[field] = "withheld in this redacted copy"
    first = case.kept_json("plan.json")["subjects"][0]["name"]
    if reference != first:
        why["positions"] = f"positions were collected against {first}, not {reference}"
    elif suspect == first:
        why["positions"] = f"{first} is the reference itself"
    return why
