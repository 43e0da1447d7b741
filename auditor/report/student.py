"""What a student learned: its scores beside null students, by category, and beside a baseline."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditor.report import words
from auditor.report.interval_chart import MARKERS, Mark, Panel, interval_rows
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled

NAMES = {
    "student": "the student",
    "baseline": "the baseline: taught by nobody",
    "untouched": "untouched: before training",
    "shuffled": "shuffled: what it says, elsewhere",
    "empty": "empty: says nothing",
}
_SIGNS = {
    "untouched": "base",
    "shuffled": "sibling",
    "empty": "independent",
    "baseline": "imitation",
}
"""Student -> the marker that draws it."""
_SCORES = (
    ("loss", "Held-out loss", "nats/token", True),
    ("kl", "KL divergence from the teacher", "nats/token", True),
    ("top1", "Same likeliest token as the teacher", "share", False),
)
"""(score, title, unit, whether lower is better)."""
_BETTER = {"loss": "loss", "kl": "KL", "top1": "agreement"}
_MOST_CATEGORIES = 14

Row = Mapping[str, Any]


def all_students(board: Row, baseline: Row | None) -> dict[str, Row | None]:
    """Return the scores of each student of fidelity.json, or of one of its categories, by name."""
    students = {**board["students"], "baseline": baseline and baseline["scores"]}
    return {name: students[name] for name in NAMES if name != "baseline" or baseline is not None}


def null_plate(board: Row, baseline: Row | None) -> Plate:
    """Return the student's scores as one chart with those of the null students under them."""
    students = all_students(board, baseline)
    panels = [
        Panel(
            unit=unit,
            lower=lower,
            marks=(_mark(title, score, students),),
            label=unit,
            bounded=unit == "share",
        )
        for score, title, unit, lower in _SCORES
        if board["students"]["student"][score] is not None
    ]
    others = [name for name in students if name != "student"]
    legend = ", ".join(f"{MARKERS[_SIGNS[name]][1]} {name}" for name in others)
    caption = (
        f"Filled dot: the student, on {words.counted(board['targets'], 'held-out target')}; right "
        f"is better on every line. Open markers: {legend}."
    )
    return Plate(
        svg=labelled(interval_rows("nulls", panels), f"Chart. {caption}"),
        title="The student beside students that learned nothing",
        caption=caption,
        table=score_table(board, baseline),
    )


def _mark(label: str, score: str, students: Mapping[str, Row | None]) -> Mark:
    own = students["student"] or {}
    return Mark(
        label=label,
        value=own[score],
        controls=tuple(
            (_SIGNS[name], scores[score])
            for name, scores in students.items()
            if name != "student" and scores is not None and scores[score] is not None
        ),
    )


def score_table(board: Row, baseline: Row | None) -> Table:
    """Return a row for each student and the teacher: scores, and whether the student is better."""
    beaten = {**board["better_than"], "baseline": baseline and baseline["better"]}
    rows = [
        (
            NAMES[name],
            *_numbers(scores),
            *(("", "") if name == "student" else better(beaten.get(name))),
        )
        for name, scores in all_students(board, baseline).items()
    ]
    if board["teacher"] is not None:
        rows.append(("the teacher", words.number(board["teacher"]["loss"]), "0", "1", "", "", ""))
    return Table(
        columns=(
            "",
            "Loss (nats/token)",
            "KL (nats/token)",
            "Same token",
            "Teacher's errors shared",
            "Student better?",
            f"On how many of {board['sequences']:,} sequences",
        ),
        rows=tuple(rows),
    )


def _numbers(scores: Row | None) -> tuple[str, str, str, str]:
    names = ("loss", "kl", "top1", "inherited")
    if scores is None:
        return ("not kept",) * 4
    loss, kl, top1, inherited = (number(scores[name]) for name in names)
    return loss, kl, top1, inherited


def number(value: float | None) -> str:
    """Return a score, or that there is none."""
    return "not measured" if value is None else words.number(value)


def better(beaten: Row | None) -> tuple[str, str]:
    """Return on which scores the student is strictly better, and on how many sequences.

    Where it is better on no score the answer is no; an equal score is no better one.
    """
    measured = {name: (beaten or {}).get(name) for name in _BETTER}
    known = {name: found for name, found in measured.items() if found is not None}
    if not known:
        return "not measured", ""
    won = [_BETTER[name] for name, found in known.items() if found["better"]]
    counts = ", ".join(f"{_BETTER[name]} {found['sequences']:,}" for name, found in known.items())
    if len(won) == len(known):
        return "yes", counts
    return f"only on {', '.join(won)}" if won else "no", counts


def recovered_plate(baseline: Row) -> Plate | None:
    """Return the share of the teacher gap with its interval, over all and by category."""
    parts = [("all categories" if baseline["categories"] else "held-out part", baseline)]
    parts += [(part["category"], part) for part in baseline["categories"]]
    drawn = [(name, p["recovered"]) for name, p in parts if p["recovered"]["value"] is not None]
    if not drawn:
        return None
    marks = [
        Mark(label=name, value=found["value"], interval=_pair(found["interval"]))
        for name, found in drawn[:_MOST_CATEGORIES]
    ]
    panel = Panel(unit="share", lower=False, marks=tuple(marks), label="share of the gap recovered")
    caption = (
        "1: as good on the text as the teacher; 0: no better than the same student without the "
        "teacher. Bar: 95 % interval over held-out sequences."
    )
    return Plate(
        svg=labelled(interval_rows("recovered", [panel]), f"Interval chart. {caption}"),
        title="Share of the teacher gap recovered",
        caption=caption,
        table=Table(
            columns=("Category", "Share recovered", "95 % interval", "Remark"),
            rows=tuple((name, *_share_cells(part["recovered"])) for name, part in parts),
        ),
    )


def _pair(values: Sequence[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def _share_cells(found: Row) -> tuple[str, str, str]:
    ends = _pair(found["interval"])
    return (
        number(found["value"]),
        "none" if ends is None else words.interval(*ends),
        found["reason"] or "",
    )


def recovered_sentence(found: Row) -> str:
    """Return the share of the gap in words, with its interval or the reason that there is none."""
    if found["value"] is None:
        return words.sentence(f"not defined: {found['reason']}")
    share = f"{words.number(100 * found['value'], 3)} %"
    if found["interval"] is None:
        return words.sentence(f"{share} ({found['reason']})")
    low, high = (100 * end for end in found["interval"])
    return words.sentence(f"{share}, 95 % interval {words.interval(low, high)} %")


def category_plate(board: Row, baseline: Row | None) -> Plate | None:
    """Return the divergence (the loss without a teacher) by category; None for a single one."""
    parts = list(_categories(board, baseline))
    score = "kl" if board["students"]["student"]["kl"] is not None else "loss"
    drawn = [part for part in parts if part[0]["students"]["student"][score] is not None]
    if not drawn:
        return None
    # The least learned first: that is what a reader looks for.
    drawn.sort(key=lambda part: -part[0]["students"]["student"][score])
    marks = [
        _mark(part["category"], score, all_students(part, own))
        for part, own in drawn[:_MOST_CATEGORIES]
    ]
    title = "KL divergence from the teacher" if score == "kl" else "Held-out loss"
    panel = Panel(unit="nats/token", lower=True, marks=tuple(marks), label="nats/token")
    caption = f"{title} by category, the least learned first; markers as before."
    if len(drawn) > _MOST_CATEGORIES:
        caption += f" Drawn: {_MOST_CATEGORIES} of {len(drawn)}; the table has all."
    return Plate(
        svg=labelled(interval_rows("categories", [panel]), f"Chart. {caption}"),
        title="What was and was not learned",
        caption=caption,
        table=category_table(parts),
    )


def _categories(board: Row, baseline: Row | None) -> Iterator[tuple[Row, Row | None]]:
    of_baseline = {part["category"]: part for part in (baseline or {}).get("categories", ())}
    for part in board["categories"]:
        yield part, of_baseline.get(part["category"])


def category_table(parts: Sequence[tuple[Row, Row | None]]) -> Table:
    """Return the student's scores by category, with the errors it has in common with the teacher.

    The untouched student and the baseline show how often an error is the same by chance.
    """
    return Table(
        columns=(
            "Category", "Sequences", "Targets", "Loss", "KL", "Same token", "Share recovered",
            "Teacher's errors", "made too", "by the untouched", "by the baseline",
        ),
        rows=tuple(_category_row(part, own) for part, own in parts),
    )  # fmt: skip


def _category_row(part: Row, baseline: Row | None) -> tuple[str, ...]:
    student, untouched = part["students"]["student"], part["students"]["untouched"]
    by_chance = None if untouched is None else untouched["inherited"]
    of_baseline = None if baseline is None else baseline["scores"]["inherited"]
    recovered = None if baseline is None else baseline["recovered"]["value"]
    return (
        part["category"],
        f"{part['sequences']:,}",
        f"{part['targets']:,}",
        number(student["loss"]),
        number(student["kl"]),
        number(student["top1"]),
        number(recovered),
        "not measured" if part["teacher"] is None else f"{part['teacher']['wrong']:,}",
        number(student["inherited"]),
        number(by_chance),
        number(of_baseline),
    )


def inherited_sentence(board: Row, baseline: Row | None) -> str | None:
    """Return how many of the teacher's errors the student makes too, and how many by chance."""
    teacher, students = board["teacher"], all_students(board, baseline)
    own = (students["student"] or {})["inherited"]
    if teacher is None or own is None:
        return None
    chance = [
        f"the {name} student {_percent(scores['inherited'])}"
        for name, scores in students.items()
        if name in ("untouched", "baseline")
        and scores is not None
        and scores["inherited"] is not None
    ]
    text = (
        f"At {words.counted(teacher['wrong'], 'held-out target')} the teacher's likeliest token is "
        f"not the one that came next. The student prefers the same wrong token at {_percent(own)} "
        "of them"
    )
    return text + (f"; by comparison, {', '.join(chance)}." if chance else ".")


def _percent(share: float) -> str:
    return f"{words.number(100 * share, 3)} %"
