"""A cheap look at many suspects beside one reference: context that decides what is measured first.

Nothing here is evidence: no reading and no likelihood ratio rests on it. A student of the
reference's outputs, and a copy whose neurons were put in another order, look like strangers.
"""

from dataclasses import dataclass, replace
from typing import Any

from auditor.canon import whole_text
from auditor.errors import AuditorError, InputError
from auditor.models.subject_files import subject_errors
from auditor.progress import Progress, Silent
from auditor.registry.distance import reused, sketch_distances, vocabulary_overlap
from auditor.registry.fingerprint import Fingerprint, fingerprint
from auditor.registry.listing import Entry, Listed, Refused
from auditor.registry.neighbour_joining import flat, neighbour_joining, newick
from auditor.types import Array

SCHEMA = "auditor/prefilter/1"
NOTE = (
    "Context, not evidence: these numbers say how alike files are, with no error rate and no "
    "controls; no reading rests on them. A student trained on outputs, or a copy whose neurons "
    "were reordered, is far from the reference here and may still be linked to it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is asked of a prefilter."""

    reference: str
    seed: int = 0
    top: int | None = None
    """Suspects to measure, nearest first; None: all."""
    measured: bool = False
    """Whether models are run afterwards: what cannot be run is then refused now."""
    chosen: frozenset[str] | None = None
    """Suspects that the case which goes on measures; None: none goes on, `top` decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefiltered:
    """What was found, and which suspects are to be measured, in the order given."""

    content: dict[str, Any]
    """``auditor/prefilter/1``."""
    kept: tuple[str, ...]
    unread: tuple[str, ...] = ()
    """Suspects that were named and cannot be read as they are now."""
    planned: tuple[str, ...] = ()
    """Both of them in the order given: what a scan tries to load."""


def prefilter(look: Look, suspects: Listed, progress: Progress | None = None) -> Prefiltered:
    """Return the prefilter of suspects; one that cannot be read is refused, the rest go on.

    One model's files are open at a time; of each some 512 bytes a matrix are kept.

    Raises:
        SubjectError, MissingExtraError: the reference cannot be read.
        InputError: no suspect can be.
    """
    first = fingerprint(look.reference, look.seed)
    entries, found, refused, unread = [], [], list(suspects.refused), []
    with (progress or Silent()).task("prefilter", len(suspects.entries)) as task:
        for entry in suspects.entries:
            row = _examined(entry, look, first)
            if isinstance(row, Refused):
                refused.append(row)
                unread.append(entry.spec)
            else:
                entries.append(entry)
                found.append(row)
            task.advance()
    if not found:
        raise _nothing(refused)
    looked = _content(look, first, entries, found, refused)
    chosen = {*looked.kept, *unread} if look.chosen is None else look.chosen
    return replace(
        looked,
        unread=tuple(unread),
        planned=tuple(entry.spec for entry in suspects.entries if entry.spec in chosen),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Suspect:
    """A suspect's fingerprint, what of it was compared, its vocabulary dropped."""

    fingerprint: Fingerprint
    overlap: float | None
    same_tokenizer: bool | None


def _examined(entry: Entry, look: Look, reference: Fingerprint) -> "_Suspect | Refused":
    try:
        with subject_errors(entry.spec):
            found = fingerprint(entry.spec, look.seed, runnable=look.measured)
    except AuditorError as error:
        return Refused(entry=entry.spec, origin=entry.origin, reason=error.message, hint=error.hint)
    ours, theirs = found.vocabulary, reference.vocabulary
    if ours is None or theirs is None:
        return _Suspect(fingerprint=found, overlap=None, same_tokenizer=None)
    return _Suspect(
        fingerprint=found.without_vocabulary(),
        overlap=vocabulary_overlap(ours, theirs),
        same_tokenizer=ours.digest == theirs.digest,
    )


def _nothing(refused: list[Refused]) -> InputError:
    first = next((row for row in refused if not row.repeated), None)
    if first is None:
        return InputError("no suspect was named", hint="auditor scan REFERENCE SUSPECT...")
    return InputError(
        f"none of {len(refused)} entries can be examined; the first, {first.origin}: "
        f"{first.reason}",
        hint=first.hint,
    )


def _content(
    look: Look,
    reference: Fingerprint,
    entries: list[Entry],
    found: list[_Suspect],
    refused: list[Refused],
) -> Prefiltered:
    placed = [one for one in (reference, *(s.fingerprint for s in found)) if one.weights]
    distances = sketch_distances([one.weights for one in placed if one.weights is not None])
    to_reference = _to_reference(reference, placed, distances)
    rows = [
        _row(entry, one, reference, to_reference.get(id(one.fingerprint)))
        for entry, one in zip(entries, found, strict=True)
    ]
    chosen = _to_measure(rows, look)
    for number, row in enumerate(rows):
        row["measured"] = number in chosen
    return Prefiltered(
        content={
            "schema": SCHEMA,
            "note": NOTE,
            "seed": look.seed,
            "top": look.top,
            "reference": _identity(reference),
            "suspects": rows,
            "left_out": len(rows) - len(chosen),
            "refused": [row.as_json() for row in refused],
            "tree": _tree(reference, [s.fingerprint for s in found], placed, distances),
        },
        kept=tuple(entries[number].spec for number in sorted(chosen)),
    )


def _to_reference(
    reference: Fingerprint, placed: list[Fingerprint], distances: Array
) -> dict[int, float]:
    if reference.weights is None:
        return {}
    return {id(one): float(distances[0, n]) for n, one in enumerate(placed) if n}


def _identity(found: Fingerprint) -> dict[str, Any]:
    return {
        "spec": found.spec,
        "sample_digest": found.weights and found.weights.digest,
        "bytes_read": found.bytes_read,
        "bytes_stored": found.bytes_stored,
        "undefined": dict(sorted(found.undefined.items())),
    }


def _row(
    entry: Entry, one: _Suspect, reference: Fingerprint, distance: float | None
) -> dict[str, Any]:
    ours, theirs = one.fingerprint.weights, reference.weights
    both = ours is not None and theirs is not None
    row = _identity(one.fingerprint) | {"origin": whole_text(entry.origin)}
    row["same_digest"] = ours.digest == theirs.digest if ours and theirs else None
    row["read_whole"] = ours.whole if ours else None
    row["tensor_reuse"] = _rounded(reused(ours, theirs)) if ours and theirs else None
    row["same_tokenizer"] = one.same_tokenizer
    row["vocabulary_overlap"] = _rounded(one.overlap)
    row["distance"] = distance
    row["matrices"] = len(set(ours.places) & set(theirs.places)) if ours and theirs else None
    if not both and "weights" not in row["undefined"]:
        row["undefined"]["weights"] = "the weights of the reference cannot be read"
    return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _to_measure(rows: list[dict[str, Any]], look: Look) -> set[int]:
    if look.chosen is None:
        return _nearest(rows, look.top)
    return {number for number, row in enumerate(rows) if row["spec"] in look.chosen}


def _nearest(rows: list[dict[str, Any]], top: int | None) -> set[int]:
    """Return the rows to measure: the nearest, and every one whose distance is not known."""
    known = [number for number, row in enumerate(rows) if row["distance"] is not None]
    unknown = set(range(len(rows))) - set(known)
    if top is None:
        return {*known, *unknown}
    known.sort(key=lambda number: _nearness(rows[number]))
    return {*known[:top], *unknown}


def _nearness(row: dict[str, Any]) -> tuple[float, float, float]:
    """Order by distance, then by tensors and tokens in common."""
    return row["distance"], -(row["tensor_reuse"] or 0.0), -(row["vocabulary_overlap"] or 0.0)


def _tree(
    reference: Fingerprint,
    suspects: list[Fingerprint],
    placed: list[Fingerprint],
    distances: Array,
) -> dict[str, Any] | None:
    """Return the neighbour-joining tree, its root drawn at the reference; None without two."""
    if reference.weights is None or len(placed) < 2:
        return None
    numbers = {id(one): number for number, one in enumerate((reference, *suspects))}
    tree = neighbour_joining(distances)
    return {
        "method": "neighbour joining (Saitou & Nei 1987) of sketch distances",
        "newick": newick(tree, [one.spec for one in placed]),
        "nodes": [
            {
                "parent": node.parent,
                "length": round(node.length, 6),
                "leaf": None if node.leaf is None else numbers[id(placed[node.leaf])],
            }
            for node in flat(tree)
        ],
    }
