"""The LR forest: what each line of evidence says alone and what they say together, with caps."""

from typing import Any

from auditor.report.canvas import ACCENT, GRID, INK, PLATE, SMALL, SOFT, TINT, WIDTH, Canvas, Scale
from auditor.report.judged_words import (
    LINE_MEANING,
    NOT_MULTIPLIED,
    PAIR_SIDES,
    PAIR_TITLES,
    line_title,
    ratio,
)
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import ends

_ROW, _TITLE, _AXIS, _GAP = 24.0, 24.0, 36.0, 12.0
_LEFT, _RIGHT = 112.0, 62.0
"""Points: the names of the lines, and their ratios."""
Row = dict[str, Any]


def forest_plate(support: Row) -> Plate:
    """Return the forest of a suspect's likelihood ratios, one panel a question."""
    lines = support["lines"]
    pairs = [pair for pair in PAIR_TITLES if any(pair in line["pairs"] for line in lines)]
    return Plate(
        svg=labelled(_drawn(lines, pairs), _alt(lines, pairs)),
        title="Likelihood ratios: each line alone, and all together",
        caption=(
            "Dot: the ratio; written, it is rounded towards 1. Thick bar: its 95 % interval over "
            "control families. Pale band between two ticks: the largest and smallest ratio that "
            "the number of control families allows. "
            "Arrow: the findings would go further, and the cap is what is stated. "
            f"{NOT_MULTIPLIED} {LINE_MEANING}"
        ),
        table=_table(lines, pairs),
    )


def _drawn(lines: list[Row], pairs: list[str]) -> str:
    panel = _TITLE + _ROW * len(lines) + _AXIS
    canvas = Canvas(panel * len(pairs) + _GAP * (len(pairs) - 1))
    scale = Scale(_ends(lines), (_LEFT, WIDTH - _RIGHT))
    for index, pair in enumerate(pairs):
        top = index * (panel + _GAP)
        canvas.text((0, top + 14), PAIR_TITLES[pair], colour=INK)
        _axis(canvas, scale, top + _TITLE, _ROW * len(lines), pair)
        for step, line in enumerate(lines):
            _line(canvas, scale, top + _TITLE + _ROW * (step + 0.5), line, pair)
    return canvas.svg()


def _ends(lines: list[Row]) -> tuple[float, float]:
    """Return the ends of the axis: whole powers of ten that hold every cap."""
    found = [end for line in lines for one in line["pairs"].values() for end in one["bounds"]]
    far = max(1.0, *(abs(end) for end in found))
    whole = float(-(-far // 1))
    return -whole, whole


def _axis(canvas: Canvas, scale: Scale, top: float, height: float, pair: str) -> None:
    low, high = scale.values
    power = int(low)
    while power <= high:
        x = scale(power)
        canvas.line((x, top), (x, top + height), SOFT if power == 0 else GRID)
        canvas.text((x, top + height + 14), ratio(power), anchor="middle", size=SMALL, colour=SOFT)
        power += 1 if high - low <= 6 else 2
    first, second = PAIR_SIDES[pair]
    y = top + height + 29
    canvas.text((scale(low), y), f"← {second}", size=SMALL, colour=SOFT)
    canvas.text((scale(high), y), f"{first} →", anchor="end", size=SMALL, colour=SOFT)


def _line(canvas: Canvas, scale: Scale, y: float, line: Row, pair: str) -> None:
    canvas.text((0, y + 4), line_title(line["line"]))
    found = line["pairs"].get(pair)
    if found is None or _silent(found):
        note = "cannot tell" if found else "no value"
        canvas.dot((scale(0.0), y), 4, PLATE, SOFT)
        canvas.text((WIDTH, y + 4), note, anchor="end", size=SMALL, colour=SOFT)
        return
    low, high = found["bounds"]
    canvas.box((scale(low), y - 5), (scale(high) - scale(low), 10), TINT)
    for end in (low, high):
        canvas.line((scale(end), y - 8), (scale(end), y + 8), SOFT, 1.4)
    start, stop = (scale(end) for end in found["interval"])
    canvas.line((start, y), (stop, y), ACCENT, 3)
    x = scale(found["log10_lr"])
    if found["capped"]:
        up = found["log10_lr"] > 0
        canvas.arrow((x + (11 if up else -11), y), "right" if up else "left")
    canvas.dot((x, y), 5 if line["line"] == "fusion" else 4, ACCENT)
    shown = ratio(found["log10_lr"]) + (" cap" if found["capped"] else "")
    canvas.text((WIDTH, y + 4), shown, anchor="end")


def _alt(lines: list[Row], pairs: list[str]) -> str:
    said = []
    for pair in pairs:
        parts = [_said(line, pair) for line in lines]
        said.append(f"{PAIR_TITLES[pair]}: {', '.join(parts)}.")
    return f"Forest chart of likelihood ratios. {' '.join(said)}"


def _said(line: Row, pair: str) -> str:
    found = line["pairs"].get(pair)
    if found is None:
        return f"{line_title(line['line'])} without a value"
    return f"{line_title(line['line'])} {_stated(found)}"


def _stated(found: Row) -> str:
    """Return a ratio in words; a line whose caps are both 1 cannot speak to the question."""
    if _silent(found):
        return "cannot tell"
    return ratio(found["log10_lr"]) + (" (cap)" if found["capped"] else "")


def _silent(found: Row) -> bool:
    return bool(found["bounds"][0] == found["bounds"][1])


def _table(lines: list[Row], pairs: list[str]) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for pair in pairs:
        for line in lines:
            found = line["pairs"].get(pair)
            head = f"{PAIR_TITLES[pair]}: {line_title(line['line'])}"
            if found is None:
                reason = line["undefined"] or "too few control families for this question"
                rows.append((head, reason, *("",) * 6))
                continue
            rows.append(
                (
                    head,
                    _stated(found),
                    found["log10_lr"],
                    " to ".join(ends(*found["interval"])),
                    found["unbounded"],
                    found["bounds"][0],
                    found["bounds"][1],
                    " and ".join(str(count) for count in found["families"]),
                )
            )
    return Table(
        columns=(
            "Question and line",
            "LR",
            "log10 LR",
            "95 % interval",
            "log10 LR before the cap",
            "Lower cap",
            "Upper cap",
            "Control families",
        ),
        rows=tuple(rows),
    )
