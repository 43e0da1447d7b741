"""What the digests and sketches of weights say of two models, as rows that measures read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.fingerprint.file import TOLERANCE, alike
from auditor.panel import MIXTURE, PARENTS, REDERIVATION
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.fingerprint.pairs import Member


def rederivation_rows(reference: "Member", suspect: "Member") -> Array | str:
    """Return one REDERIVATION row: whole tensors whose digests agree; or why there is none.

    A tensor that differs in one number counts as different in all: the share is a lower limit.
    """
    ours, theirs = _tensors(reference), _tensors(suspect)
    if not ours or not theirs:
        return "a fingerprint without weights"
    counted = [row for row in theirs.values() if row["counts"]]
    if not any(_shape(ours, row) == row["shape"] for row in counted):
        return "no tensor has a name and shape of the reference's"
    equal = [row for row in counted if ours.get(row["name"], {}).get("digest") == row["digest"]]
    found = np.zeros(1, dtype=REDERIVATION)
    found["transform"], found["partner"] = "copy", -1
    found["tensors_equal"], found["tensors"] = len(equal), len(counted)
    found["elements_equal"] = sum(row["elements"] for row in equal)
    found["elements"] = sum(row["elements"] for row in counted)
    return found


def all_equal(reference: "Member", suspect: "Member") -> bool:
    """Whether two models have the same tensors, by names and digests."""
    ours, theirs = (
        {name: row["digest"] for name, row in _tensors(member).items()}
        for member in (reference, suspect)
    )
    return bool(ours) and ours == theirs


def contradiction(reference: "Member", suspect: "Member") -> str | None:
    """Return the first tensor with equal digests and unequal sums; a model gives none.

    Sums may differ by TOLERANCE of the largest: another machine adds up in another order.
    """
    ours, theirs = _tensors(reference), _tensors(suspect)
    sums, others = _sums(reference), _sums(suspect)
    for name in sorted(sums.keys() & others.keys()):
        same = all(ours[name][key] == theirs[name][key] for key in ("digest", "shape"))
        if same and not alike(sums[name], others[name], TOLERANCE):
            return name
    return None


def merge_rows(
    reference: "Member", suspect: "Member", others: Sequence["Member"]
) -> tuple[Array | str, tuple[str, ...]]:
    """Return MIXTURE rows from sketches and the names of the parents; or why there are none.

    Inner products of sketches stand for those of weights; units stay in the order of the files.
    """
    parents = [reference, *_candidates(reference, suspect, others)][:PARENTS]
    labels = tuple(member.label for member in parents)
    if not all("tensors" in member.file.arrays for member in (reference, suspect)):
        return "a fingerprint without sketches of weights", ()
    if _layout(reference) != _layout(suspect):
        return "the shapes are not the reference's", ()
    if len(parents) < 2:
        return "no control has the shapes of the suspect: nothing to mix with", ()
    sums = [member.file.arrays["tensors"].astype(np.float64) for member in (suspect, *parents)]
    wanted, first, *rest = sums
    vectors = np.stack([wanted - first, first, *[one - first for one in rest]])  # (1+K, B, k)
    places = _places(suspect)
    rows = np.zeros(len(places), dtype=MIXTURE)
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        row["layer"], row["group"], row["block"], row["elements"] = place
        row["parents"] = [*range(len(parents)), *[-1] * (PARENTS - len(parents))]
        part = vectors[:, number]
        row["gram"][: len(part), : len(part)] = part @ part.T
    return rows, labels


def _candidates(
    reference: "Member", suspect: "Member", others: Sequence["Member"]
) -> list["Member"]:
    """Return who may be a parent beside the reference, declared bases first; none twice."""
    seen = {reference.file.subject["digest"], suspect.file.subject["digest"]}
    found = []
    for member in sorted(others, key=lambda one: one.role != "base"):
        digest = member.file.subject["digest"]
        usable = member.role not in ("suspect", "replication") and digest not in seen
        if usable and "tensors" in member.file.arrays and _layout(member) == _layout(suspect):
            seen.add(digest)
            found.append(member)
    return found


def _tensors(member: "Member") -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in member.file.content["tensors"]}


def _sums(member: "Member") -> dict[str, Array]:
    """Return the (blocks, numbers) sums of each tensor by name."""
    rows = member.file.content["tensors"]
    if "tensors" not in member.file.arrays:
        return {}
    ends = np.cumsum([row["blocks"] for row in rows])
    parts = np.split(member.file.arrays["tensors"], ends[:-1])
    return {row["name"]: part for row, part in zip(rows, parts, strict=True)}


def _shape(tensors: dict[str, dict[str, Any]], row: dict[str, Any]) -> list[int] | None:
    found: list[int] | None = tensors.get(row["name"], {}).get("shape")
    return found


def _layout(member: "Member") -> list[tuple[str, list[int], int]]:
    return [(row["name"], row["shape"], row["blocks"]) for row in member.file.content["tensors"]]


def _places(member: "Member") -> list[tuple[int, int, int, int]]:
    """Return (layer, group, number, elements) of each sketched block, in the order of the sums."""
    return [
        (row["layer"], row["group"], block, row["elements"] // row["blocks"])
        for row in member.file.content["tensors"]
        for block in range(row["blocks"])
    ]
