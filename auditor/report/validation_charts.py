"""How far the ratios can be trusted: Tippett, ECE and PAV of controls whose family was left out."""

from collections.abc import Callable
from typing import Any

from auditor.report.canvas import ACCENT, CONTROL, INK, SMALL, SOFT, Canvas
from auditor.report.chart_frame import Axis, Frame, framed
from auditor.report.judged_words import PAIR_SIDES, PAIR_TITLES, ratio
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import counted, number

_HEIGHT, _GAP = 176.0, 14.0
Row = dict[str, Any]
Draw = Callable[[Canvas, float, str, Row], None]


def validation_plates(validation: Row) -> list[Plate]:
    """Return the three figures of the fusion that was used; ``validation`` is its entry."""
    pairs = {pair: validation["pairs"][pair] for pair in PAIR_TITLES if pair in validation["pairs"]}
    return [_tippett(pairs), _ece(pairs), _pav(pairs)]


def _stacked(pairs: dict[str, Row], draw: Draw) -> str:
    canvas = Canvas((_HEIGHT + _GAP) * len(pairs) - _GAP)
    for index, (pair, found) in enumerate(pairs.items()):
        draw(canvas, index * (_HEIGHT + _GAP), pair, found)
    return canvas.svg()


def _basis(pairs: dict[str, Row]) -> str:
    families = max(sum(found["families"]) for found in pairs.values())
    return (
        f"Each control is weighed by a fusion that did not see its family (up to "
        f"{counted(families, 'family', 'families')} a question); families weigh the same."
    )


def _reach(found: Row) -> tuple[float, float]:
    """Return the ends of a log10 LR axis that holds the caps."""
    far = max(1.0, *(abs(end) for end in found["bounds"]))
    whole = float(-(-far // 1))
    return -whole, whole


def _powers(ends: tuple[float, float]) -> tuple[float, ...]:
    return tuple(float(power) for power in range(int(ends[0]), int(ends[1]) + 1))


def _percent(share: float) -> str:
    return f"{number(100 * share, 3)} %"


def _tippett(pairs: dict[str, Row]) -> Plate:
    wrong = "; ".join(_misled(pair, found) for pair, found in pairs.items())
    return Plate(
        svg=labelled(_stacked(pairs, _draw_tippett), f"Tippett plots. At a ratio of 1: {wrong}."),
        title="Tippett plot: how often controls reach a ratio",
        caption=(
            "At each likelihood ratio, the share of controls that reach it or more. Solid: those "
            "for which the first proposition holds; dashed: those for which the second does. Right "
            "of 1 the dashed line is misleading evidence, left of 1 what the solid line lacks to "
            f"100 %. At a ratio of 1: {wrong}. {_basis(pairs)}"
        ),
        table=Table(
            columns=("Question, controls", "log10 LR", "Share at or above"),
            rows=tuple(
                (f"{PAIR_TITLES[pair]}: {side}", x, share)
                for pair, found in pairs.items()
                for side, key in zip(PAIR_SIDES[pair], ("first", "second"), strict=True)
                for x, share in zip(*found["curves"]["tippett"][key], strict=True)
            ),
        ),
    )


def _misled(pair: str, found: Row) -> str:
    at_one = found["misleading"][0]
    first, second = PAIR_SIDES[pair]
    support, missed = at_one["false_support"], at_one["missed"]
    return (
        f"{support['count']} of {support['families']} {second} families look like {first}, "
        f"{missed['count']} of {missed['families']} {first} families do not"
    )


def _draw_tippett(canvas: Canvas, top: float, pair: str, found: Row) -> None:
    ends = _reach(found)
    axes = (
        Axis(title="likelihood ratio", ends=ends, ticks=_powers(ends), label=ratio),
        Axis(title="share at or above", ends=(0.0, 1.0), ticks=(0.0, 0.5, 1.0), label=_percent),
    )
    frame = framed(canvas, top, _HEIGHT, axes, PAIR_TITLES[pair])
    canvas.line(frame.at(0, 0), frame.at(0, 1), SOFT)
    for key, colour, dashed in (("first", ACCENT, False), ("second", CONTROL, True)):
        x, share = found["curves"]["tippett"][key]
        # The share holds up to and at each value: the drop comes right after it.
        points = frame.along([ends[0], *x, ends[1]], [1.0, *share[1:], 0.0, 0.0])
        canvas.steps(points, colour, 2, dashed=dashed)
    _key(canvas, top, PAIR_SIDES[pair])


def _key(canvas: Canvas, top: float, names: tuple[str, str]) -> None:
    right, y = canvas.width - 12, top + 26
    for name, colour, dashed, x in (
        (names[0], ACCENT, False, right - 160),
        (names[1], CONTROL, True, right - 78),
    ):
        canvas.line((x, y), (x + 18, y), colour, 2, dashed=dashed)
        canvas.text((x + 22, y + 4), name, size=SMALL)


def _ece(pairs: dict[str, Row]) -> Plate:
    costs = "; ".join(
        f"{PAIR_TITLES[pair].lower()} {number(found['cllr'], 2)} bits, "
        f"{number(found['cllr_min'], 2)} after the best recalibration"
        for pair, found in pairs.items()
    )
    return Plate(
        svg=labelled(_stacked(pairs, _draw_ece), f"Plots of the empirical cross-entropy. {costs}."),
        title="Empirical cross-entropy: what the ratios cost at each prior",
        caption=(
            "Solid: the cost, in bits, of deciding by the stated ratios at each prior odds; lower "
            "is better. Dashed: by ratios of 1, that is without them; above this line the ratios "
            "would do harm. Thin: after the best recalibration of these very controls. At even "
            f"odds the cost is Cllr: {costs}. {_basis(pairs)}"
        ),
        table=Table(
            columns=("Question", "log10 prior odds", "Stated", "Recalibrated", "Without"),
            rows=tuple(
                (PAIR_TITLES[pair], *row)
                for pair, found in pairs.items()
                for row in _costs(found["curves"]["ece"])
            ),
        ),
    )


def _costs(curves: Row) -> list[tuple[float, ...]]:
    """Return the costs at prior odds that are powers of ten; conclusion.json has the others."""
    names = ("log10_prior_odds", "lr", "pav", "ignored")
    rows = zip(*(curves[name] for name in names), strict=True)
    return [row for row in rows if float(row[0]).is_integer()]


def _draw_ece(canvas: Canvas, top: float, pair: str, found: Row) -> None:
    curves = found["curves"]["ece"]
    odds = curves["log10_prior_odds"]
    most = max(1.0, *curves["lr"])
    powers = tuple(float(power) for power in range(int(odds[0]), int(odds[-1]) + 1))
    axes = (
        Axis(title="prior odds", ends=(odds[0], odds[-1]), ticks=powers, label=ratio),
        Axis(title="bits", ends=(0.0, most), ticks=(0.0, 0.5, 1.0)),
    )
    frame = framed(canvas, top, _HEIGHT, axes, PAIR_TITLES[pair])
    canvas.path(frame.along(odds, curves["ignored"]), CONTROL, 1.6, dashed=True)
    canvas.path(frame.along(odds, curves["pav"]), INK, 1)
    canvas.path(frame.along(odds, curves["lr"]), ACCENT, 2.2)
    _key(canvas, top, ("stated", "without"))


def _pav(pairs: dict[str, Row]) -> Plate:
    return Plate(
        svg=labelled(
            _stacked(pairs, _draw_pav),
            "PAV plots. Stated log10 likelihood ratios against those after the best monotone "
            "recalibration; the table has the numbers.",
        ),
        title="PAV plot: are the ratios as large as they should be?",
        caption=(
            "Each control's stated ratio, and what the best monotone recalibration (pool adjacent "
            "violators) makes of it. On the diagonal the ratios are calibrated; under it, right of "
            "1, they are too large. Filled: the first proposition holds; open: the second. Where "
            "controls of one class stand alone the recalibrated ratio is 0 or infinite, drawn with "
            f"an arrow at the frame: nothing in the data bounds it. {_basis(pairs)}"
        ),
        table=Table(
            columns=("Question, controls", "log10 LR", "Recalibrated log10 LR"),
            rows=tuple(row for pair, found in pairs.items() for row in _pav_rows(pair, found)),
        ),
    )


def _pav_rows(pair: str, found: Row) -> list[tuple[str | float, ...]]:
    """Return the distinct points of one question, ascending."""
    rows: dict[tuple[str | float, ...], None] = {}
    curve = found["curves"]["pav"]
    for x, y, first in zip(curve["log10_lr"], curve["pav"], curve["first"], strict=True):
        side = PAIR_SIDES[pair][0 if first else 1]
        end = "unbounded" if y is None else y
        rows[f"{PAIR_TITLES[pair]}: {side}", x, end] = None
    return list(rows)


def _draw_pav(canvas: Canvas, top: float, pair: str, found: Row) -> None:
    ends = _reach(found)
    ticks = _powers(ends)
    axes = (
        Axis(title="stated likelihood ratio", ends=ends, ticks=ticks, label=ratio),
        Axis(title="recalibrated", ends=ends, ticks=ticks[:: max(1, len(ticks) // 4)], label=ratio),
    )
    frame = framed(canvas, top, _HEIGHT, axes, PAIR_TITLES[pair])
    canvas.line(frame.at(ends[0], ends[0]), frame.at(ends[1], ends[1]), SOFT, dashed=True)
    curve = found["curves"]["pav"]
    points = zip(curve["log10_lr"], curve["pav"], curve["first"], strict=True)
    for x, y, first in dict.fromkeys(points):
        _pav_point(canvas, frame, (x, y, first), ends)


def _pav_point(
    canvas: Canvas,
    frame: Frame,
    point: tuple[float, float | None, bool],
    ends: tuple[float, float],
) -> None:
    x, y, first = point
    if y is None:
        # A recalibrated ratio of 0 has no control of the first class, one of infinity no other.
        low = not first
        edge = frame.at(x, ends[0] if low else ends[1])
        canvas.arrow((edge[0], edge[1] + (4 if low else -4)), "down" if low else "up")
        return
    canvas.dot(frame.at(x, y), 3.2, ACCENT if first else "var(--plate)", ACCENT)
