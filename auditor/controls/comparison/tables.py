"""The comparison as a page for people and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.canon import pretty_json
from auditor.case import atomic_write
from auditor.controls.comparison.discrimination import QUESTIONS, Estimate
from auditor.controls.comparison.summary import ReadingSummary
from auditor.judge.rates import Rate

SCHEMA = "auditor/comparison/1"
_HEADINGS = {
    "replication": "Replicas against everything else",
    "imitation": "Students against independent and sibling models",
    "link": "Replicas and students against independent and sibling models",
}
_INTRODUCTION = """\
Every tool was asked about the same models with its own defaults, in its own environment, without
network. The published statistics have no package; they are computed here as their sources define
them. None of these numbers is evidence of ours.

AUC, TPR and Cllr are weighted by family, with 95 % intervals over families. TPR is at the
threshold that 1 % of the other side passes. Cllr is in bits: 0 is perfect, 1 says nothing, more
than 1 does harm; "stated" is of the probability or likelihood ratio that the tool itself gives,
"calibrated" after the logistic calibration that our own scores get. "-" stands for what a tool
does not have; reasons are in the JSON file beside this page.

Scores that follow a quantity over the layers need depth: with fewer than three layers modelDNA
leaves its profile out and puts in a constant, and the std profile and provenance-kit's layer
energies can only be at an end of their scales. modelaudit's black-box command is given greedy
replies of at most 128 tokens.
"""
_ACCUSATIONS = """\
Families with a member of which the tool's own verdict asserts a link, with exact 95 % limits on
the share, and in brackets the models: a strict count of false assertions, a lenient one of hits.
Abstentions assert nothing. On independent and sibling models every assertion is false; on students
"copy" is the wrong word.
"""


def write_comparison(
    folder: Path, summaries: Sequence[ReadingSummary], *, about: Sequence[str] = ()
) -> tuple[Path, Path]:
    """Write ``comparison.md`` and ``comparison.json`` into `folder`; return their paths.

    Args:
        folder: created where missing; ``reports/benchmarks`` for the shipped one.
        summaries: as `auditor.controls.comparison.summary.summarise` returns them.
        about: sentences on the models compared, put under the title.

    Raises:
        StorageError: the disk refused.
    """
    page, data = folder / "comparison.md", folder / "comparison.json"
    value = {
        "schema": SCHEMA,
        "about": list(about),
        "readings": [summary.as_json() for summary in summaries],
    }
    atomic_write(page, markdown(summaries, about).encode())
    atomic_write(data, pretty_json(value))
    return page, data


def markdown(summaries: Sequence[ReadingSummary], about: Sequence[str] = ()) -> str:
    """Return the comparison as Markdown."""
    parts = ["# Comparison with others on the same models", "\n".join(about), _INTRODUCTION]
    for question in QUESTIONS:
        parts += [f"## {_HEADINGS[question]}", _discrimination_table(summaries, question)]
    parts += ["## What their verdicts assert", _ACCUSATIONS, _accusation_table(summaries)]
    parts += ["## AUC of each kind against independent and sibling models", _kinds(summaries)]
    parts += ["## Verdict words", _words(summaries), "## Without a score", _failures(summaries)]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _discrimination_table(summaries: Sequence[ReadingSummary], question: str) -> str:
    head = [
        "reading",
        "version",
        "models",
        "no score",
        "AUC",
        "TPR at 1 % FPR",
        "Cllr stated",
        "Cllr calibrated",
        "CPU s a pair",
    ]
    rows = []
    for summary in summaries:
        found = summary.questions[question]
        seconds = summary.median_seconds
        rows.append(
            [
                summary.reading,
                ", ".join(summary.versions),
                f"{found.models[0]} / {found.models[1]}",
                str(found.without_score),
                *(
                    _estimate(one)
                    for one in (
                        found.auc,
                        found.tpr_at_fpr_1,
                        found.cllr_stated,
                        found.cllr_calibrated,
                    )
                ),
                "-" if seconds is None else f"{seconds:.2g}",
            ]
        )
    return _table(head, rows)


def _accusation_table(summaries: Sequence[ReadingSummary]) -> str:
    columns = [(role, "any_link") for role in _roles(summaries)]
    head = ["reading", *(role for role, _ in columns)]
    if "imitation" in head:
        columns.append(("imitation", "replication"))
        head.append("imitation called a copy")
    with_verdict = [s for s in summaries if any(a.any_link for a in s.accusations.values())]
    rows = [[s.reading, *(_asserted(s, *column) for column in columns)] for s in with_verdict]
    return _table(head, rows)


def _roles(summaries: Sequence[ReadingSummary]) -> list[str]:
    return list(dict.fromkeys(role for summary in summaries for role in summary.accusations))


def _asserted(summary: ReadingSummary, role: str, word: str) -> str:
    found = summary.accusations.get(role)
    rate: Rate | None = None if found is None else getattr(found, word)
    if found is None or rate is None:
        return "-"
    low, high = rate.interval
    models = getattr(found, f"{word}_models")
    return f"{rate.count}/{rate.families} [{low:.2f}, {high:.2f}] ({models}/{found.models})"


def _kinds(summaries: Sequence[ReadingSummary]) -> str:
    kinds = sorted({kind for summary in summaries for kind in summary.kinds})
    rows = [[kind, *(_number(s.kinds.get(kind)) for s in summaries)] for kind in kinds]
    return _table(["kind", *(s.reading for s in summaries)], rows)


def _words(summaries: Sequence[ReadingSummary]) -> str:
    rows = [
        [summary.reading, kind, ", ".join(f"{word} {count}" for word, count in words.items())]
        for summary in summaries
        for kind, words in summary.words.items()
    ]
    return _table(["reading", "kind of model", "words"], rows)


def _failures(summaries: Sequence[ReadingSummary]) -> str:
    rows = [
        [summary.reading, reason.replace("|", "/"), str(count)]
        for summary in summaries
        for reason, count in summary.failures.items()
    ]
    return _table(["reading", "reason", "models"], rows) if rows else "None."


def _estimate(found: Estimate) -> str:
    if found.value is None or found.interval is None:
        return "-"
    low, high = found.interval
    return f"{found.value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
