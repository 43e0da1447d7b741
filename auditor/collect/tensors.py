"""What the files of two subjects' weights say when they are laid side by side, tensor by tensor.

Read from the files, not from the loaded model: a model may run in another type than it is stored
in, and bits are compared. One tensor of each model is in memory at a time.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from auditor.case import atomic_write
from auditor.collect.collection import Collection
from auditor.collect.merging import Candidate, Rearranged, align_candidates, mixture_rows
from auditor.collect.rederivation import Partner, Weights, counterpart, rederive
from auditor.collect.unrotation import unrotated
from auditor.errors import InputError, MissingExtraError, UndefinedError
from auditor.models.anatomy import Anatomy, anatomy_of
from auditor.models.base import Model
from auditor.models.rotation import HEAD, ROTATABLE
from auditor.models.weight_files import WeightFiles, open_weights
from auditor.stored import read_refs
from auditor.types import Access, Array

_FIELDS = ("rederivation", "merge")
_REPRODUCED = 0.99
"""Below it the reference's units are put in the suspect's order, and the transforms tried again."""

_COPIED = 0.5
"""Cosine of the token embedding to a copy that was moved and then rounded to few bits."""


def compare_tensors(run: Collection, model: Model, name: str) -> dict[str, str]:
    """Write what the case lacks of a subject's re-derivation and of its mixture.

    Returns:
        What it does not give, with the reasons; nothing for the reference itself.

    Raises:
        StorageError: the disk is full.
    """
    if name == run.reference:
        return {}
    reason = run.access_reason(model.ref, Access.WEIGHTS) or _of_reference(run)
    if reason:
        return dict.fromkeys(_FIELDS, reason)
    try:
        case = _Compared(run, name)
    except (InputError, MissingExtraError) as error:
        return dict.fromkeys(_FIELDS, error.message)
    missing = {}
    for what, rows_of in (("rederivation", case.rederivation), ("merge", case.mixture)):
        path = run.case.array(what, name)
        if path.is_file():
            continue
        try:
            rows = rows_of()
        except (InputError, UndefinedError, MissingExtraError) as error:
            missing[what] = error.message
            continue
        content = io.BytesIO()
        np.save(content, rows, allow_pickle=False)
        atomic_write(path, content.getvalue())
    return missing


def _of_reference(run: Collection) -> str | None:
    reason = run.access_reason(read_refs(run.case)[run.reference], Access.WEIGHTS)
    return f"of the reference: {reason}" if reason else None


class _Compared:
    """The files of a subject, of the reference, and of who else may be a parent."""

    def __init__(self, run: Collection, name: str) -> None:
        subjects = run.plan["subjects"]
        own = next(subject for subject in subjects if subject["name"] == name)
        self.suspect = open_weights(own["spec"])
        self.reference = open_weights(subjects[0]["spec"])
        for weights in (self.suspect, self.reference):
            weights.check_whole()
        self.candidates = [
            Candidate(0, run.reference, self.reference, first=True),
            *_candidates(subjects, own, self.suspect),
        ]

    def rederivation(self) -> Array:
        """Return the REDERIVATION rows.

        Raises:
            UndefinedError: no tensor can be compared; the message names one.
        """
        _check_comparable(self.suspect, self.reference)
        found = rederive(self.suspect, self.reference, self._partners(None))
        if not found.tensors:
            raise UndefinedError("every tensor of the suspect is one that any two models share")
        rows = found.rows()
        best = found.best
        for prefix, moved_reference in (("permuted+", self._permuted), ("rotated+", self._rotated)):
            moved = moved_reference() if best < _REPRODUCED else None
            if moved is not None:
                again = rederive(self.suspect, moved, self._partners(moved))
                if again.best > best:
                    rows, best = np.concatenate([rows, again.rows(prefix)]), again.best
        return rows

    def mixture(self) -> Array:
        """Return the MIXTURE rows.

        Raises:
            UndefinedError: the reference has other shapes, there is no other candidate, or none
                of them fits.
        """
        _check_shapes(self.suspect, self.reference)
        if len(self.candidates) < 2:
            raise UndefinedError("no control has the shapes of the suspect: nothing to mix with")
        anatomy = _anatomy(self.suspect)
        if anatomy is None:
            return mixture_rows(self.suspect, self.candidates)
        aligned = align_candidates(self.suspect, self.candidates, anatomy)
        return mixture_rows(self.suspect, aligned.candidates)

    def _partners(self, moved: Rearranged | None) -> list[Partner]:
        """Return the other parents, in the order that the reference was put in."""
        partners = []
        for candidate in self.candidates[1:]:
            weights: Weights = candidate.weights
            if moved is not None:
                weights = Rearranged(weights, moved.anatomy, moved.order)
            partners.append(Partner(candidate.number, weights))
        return partners

    def _permuted(self) -> Rearranged | None:
        """Return the reference with its units in the suspect's order; None where none moves."""
        anatomy = _anatomy(self.suspect)
        if anatomy is None or self.suspect.shapes != self.reference.shapes:
            return None
        try:
            aligned = align_candidates(self.suspect, self.candidates[:1], anatomy, _COPIED)
        except UndefinedError:
            return None
        if not aligned.order.changes:
            return None
        return Rearranged(self.reference, anatomy, aligned.order)

    def _rotated(self) -> Rearranged | None:
        """Return the reference with its residual stream rotated as the suspect's, if it is."""
        ours, theirs = _anatomy(self.suspect), _anatomy(self.reference)
        if ours is None or theirs is None or not _rotatable(self.suspect, self.reference):
            return None
        return unrotated(self.suspect, self.reference, ours, theirs)


def _candidates(
    subjects: list[dict[str, Any]], own: dict[str, Any], suspect: WeightFiles
) -> Iterator[Candidate]:
    """Yield the controls that may be parents beside the reference.

    Not those whose weights are the reference's already (replication), nor of the suspect's family.
    """
    seen = {subjects[0]["digest"], own["digest"]}
    for number, subject in enumerate(subjects):
        base = subject["role"] == "base"
        related = subject["family"] == own["family"] and not base
        if subject["role"] in ("reference", "suspect", "replication") or related:
            continue
        if subject["digest"] is None or subject["digest"] in seen:
            continue
        seen.add(subject["digest"])
        try:
            weights = open_weights(subject["spec"])
        except (InputError, MissingExtraError):
            continue  # it has no weights that can be read; its own entry says why
        if weights.shapes == suspect.shapes:
            yield Candidate(number, subject["name"], weights, first=base)


def _anatomy(weights: WeightFiles) -> Anatomy | None:
    """Return the anatomy, or None where units cannot be told apart: then none are moved."""
    try:
        return anatomy_of(weights.shapes, weights.config)
    except InputError:
        return None


def _rotatable(suspect: WeightFiles, reference: WeightFiles) -> bool:
    """Whether both are of a type whose rotation changes nothing, and of one shape."""
    shapes = [dict(one.shapes) for one in (suspect, reference)]
    for table in shapes:
        table.pop(HEAD, None)  # rotating unties it
    return shapes[0] == shapes[1] and all(
        one.config.get("model_type") in ROTATABLE for one in (suspect, reference)
    )


def _check_comparable(suspect: Weights, reference: Weights) -> None:
    if not any(counterpart(reference, name, shape) for name, shape in suspect.shapes.items()):
        differs = _differs(suspect, reference)
        raise UndefinedError(f"no tensor has a name and shape of the reference's: {differs}")


def _check_shapes(suspect: Weights, reference: Weights) -> None:
    if suspect.shapes != reference.shapes:
        raise UndefinedError(f"the shapes are not the reference's: {_differs(suspect, reference)}")


def _differs(suspect: Weights, reference: Weights) -> str:
    ours, theirs = suspect.shapes, reference.shapes
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            shapes = [_shown(table.get(name)) for table in (ours, theirs)]
            return f"{name} is {shapes[0]} in the suspect, {shapes[1]} in the reference"
    return "they have none"


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(str(size) for size in shape)
