"""Answers to questions with a known answer: what was learned, and which errors were inherited."""

from collections.abc import Mapping
from typing import Any

from auditor.report import words
from auditor.report.plates import Table

Row = Mapping[str, Any]
_OUTCOMES = {"right": "right", "wrong": "wrong", "none": "no answer"}


def inherited_section(found: Row | None) -> dict[str, Any] | None:
    """Return what the section shows of inherited-errors.json; None where it was not measured."""
    if found is None:
        return None
    return {
        "sentences": inherited_sentences(found),
        "crossed": crossed_table(found),
        "learned": learned_table(found),
        "errors": errors_table(found),
        "tokens": found["decoding"]["max_new_tokens"],
        "suites": ", ".join(f"{s['name']}@{s['version']}" for s in found["suites"]),
        "answers": found["answers"],
    }


def inherited_sentences(found: Row) -> list[str]:
    """Return the result over all categories in words."""
    learned, repeated = found["learned"], found["repeated"]
    said = [
        f"Of {words.counted(learned['of'], 'question')} that the teacher answers rightly and the "
        f"untouched student does not, the student answers {learned['count']:,} rightly."
    ]
    if repeated is None:
        return [*said, "The teacher gives no wrong answer: there is no error to inherit."]
    student, untouched = repeated["student"], repeated["untouched"]
    low, high = (100 * end for end in student["interval"])
    said.append(
        f"The teacher gives {words.counted(found['errors'], 'wrong answer')}; the student repeats "
        f"{student['count']:,} of them, {_percent(student['share'])} (95 % interval "
        f"{words.interval(low, high)} %), the untouched student {_percent(untouched['share'])}, "
        f"its own answers shuffled within each category {_percent(repeated['shuffled']['share'])}."
    )
    said.append(
        f"Exact p-values: {_p(found['p_shuffled'])} against its shuffled answers, "
        f"{_p(found['p_untouched'])} against the untouched student."
    )
    if not found["better"]:
        said.append("It is not above both: these errors are no sign of what it was taught.")
    return said


def crossed_table(found: Row) -> Table:
    """Return the numbers of questions by outcome of the teacher and of the student."""
    return Table(
        columns=("", *(f"Student {word}" for word in _OUTCOMES.values())),
        rows=tuple(
            (f"Teacher {word}", *(f"{found['crossed'][of][to]:,}" for to in _OUTCOMES))
            for of, word in _OUTCOMES.items()
        ),
    )


def learned_table(found: Row) -> Table:
    """Return by category how many answers are right, and what of the teacher's was learned."""
    return Table(
        columns=(
            "Category", "Questions", "Right: teacher", "student", "untouched",
            "Only the teacher had right", "of these learned", "Answers of the student",
        ),
        rows=tuple((name, *_learned_cells(part)) for name, part in _parts(found)),
    )  # fmt: skip


def errors_table(found: Row) -> Table:
    """Return by category which of the teacher's wrong answers are repeated, and by whom."""
    return Table(
        columns=(
            "Category", "Teacher's errors", "Both wrong", "Repeated by the student",
            "95 % interval (%)", "by the untouched", "shuffled", "p, shuffled", "p, untouched",
        ),
        rows=tuple((name, *_error_cells(part)) for name, part in _parts(found)),
    )  # fmt: skip


def _parts(found: Row) -> list[tuple[str, Row]]:
    parts = [(part["category"], part) for part in found["categories"]]
    return [("all categories", found), *parts] if len(parts) > 1 else parts


def _learned_cells(part: Row) -> tuple[str, ...]:
    right, learned = part["right"], part["learned"]
    counts = (part["probes"], right["teacher"], right["student"], right["untouched"])
    rest = (learned["of"], learned["count"], part["answered"]["student"])
    return tuple(f"{count:,}" for count in (*counts, *rest))


def _error_cells(part: Row) -> tuple[str, ...]:
    errors, both = f"{part['errors']:,}", f"{part['crossed']['wrong']['wrong']:,}"
    repeated = part["repeated"]
    if repeated is None:
        return (errors, both, *("no error",) * 6)
    low, high = (100 * end for end in repeated["student"]["interval"])
    return (
        errors,
        both,
        f"{repeated['student']['count']:,} ({_percent(repeated['student']['share'])})",
        words.interval(low, high),
        _percent(repeated["untouched"]["share"]),
        _percent(repeated["shuffled"]["share"]),
        _p(part["p_shuffled"]),
        _p(part["p_untouched"]),
    )


def _percent(share: float) -> str:
    return f"{words.number(100 * share, 3)} %"


def _p(value: float) -> str:
    return words.number(value, 2)
