"""The part of a distillation's report on what the student learned, in order."""

from collections.abc import Sequence
from typing import Any

from auditor.report import words
from auditor.report.plates import Plate
from auditor.report.student import (
    category_plate,
    inherited_sentence,
    null_plate,
    recovered_plate,
    recovered_sentence,
    score_table,
)
from auditor.report.view import Exhibit

Row = dict[str, Any]


def numbered(plates: Sequence[Plate | None], first: int = 1) -> list[Exhibit]:
    """Return the figures there are, numbered from `first`."""
    drawn = (plate for plate in plates if plate is not None)
    return [Exhibit(number=number, plate=plate) for number, plate in enumerate(drawn, first)]


def learned(board: Row | None, baseline: Row | None, first: int) -> Row:
    """Return what the section on the student shows; its exhibits are numbered from `first`."""
    if board is None:
        return {"board": None}
    found = [
        None if baseline is None else recovered_plate(baseline),
        null_plate(board, baseline),
        category_plate(board, baseline),
    ]
    return {
        "board": board,
        "recovered": None if baseline is None else recovered_sentence(baseline["recovered"]),
        "scores": score_table(board, baseline),
        "inherited": inherited_sentence(board, baseline),
        "by_category": bool(board["categories"]),
        "exhibits": numbered(found, first),
    }


def share_card(baseline: Row | None) -> list[dict[str, str]]:
    """Return the card with the share of the teacher gap; none where it is not known."""
    if baseline is None or baseline["recovered"]["value"] is None:
        return []
    recovered = baseline["recovered"]
    note = recovered["reason"]
    if recovered["interval"] is not None:
        low, high = (100 * end for end in recovered["interval"])
        note = f"95 % interval {words.interval(low, high)} %"
    return [
        {
            "title": "Share of the teacher gap recovered",
            "unit": "%",
            "value": words.number(100 * recovered["value"], 3),
            "note": f"beside the same student without the teacher; {note}",
        }
    ]
