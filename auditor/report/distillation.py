"""The report of a distillation run: ``lineage.json`` and ``metrics.jsonl`` as one HTML file."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from auditor.case import atomic_write
from auditor.errors import CaseError
from auditor.report import words
from auditor.report.added import cost_facts, lineage_table, read_added
from auditor.report.inherited import inherited_section
from auditor.report.integrity import ListedFile, checksum_lines
from auditor.report.learned import learned, numbered, share_card
from auditor.report.plates import Plate, Table
from auditor.report.plots import Curve, curve
from auditor.report.svg import labelled
from auditor.report.templates import html_templates
from auditor.report.view import flat

_MOST_POINTS = 200
_METHODS = {
    "baseline": "on text, without a teacher",
    "sequence": "on answers written by the teacher",
    "logits": "on the teacher's probabilities",
    "on-policy": "on its own answers, by the teacher's probabilities",
    "hidden": "on text and the teacher's inner states",
    "embedding": "to embed texts as the teacher does",
}
_HOLDOUT = (
    ("kl", "KL divergence of the student from the teacher", "nats/token"),
    ("top1", "Same likeliest token", "share"),
    ("bits_per_byte", "Held-out text, by the student", "bits/byte"),
    ("teacher_bits_per_byte", "Held-out text, by the teacher of other tokens", "bits/byte"),
    ("alignment_loss", "Held-out loss of the alignment", "a target"),
    ("loss", "Held-out loss", "nats/token"),
)
"""(key of an evaluation, title, unit), the most telling first."""
_ENCODER = (
    ("cosine", "Cosine of the student's and the teacher's vector", "cosine"),
    ("spearman", "Rank correlation of the similarities of all pairs of texts", "correlation"),
    ("neighbours", "Nearest neighbours that both have", "share"),
)
"""The same for a sentence encoder, without its loss: each of its losses has its own unit."""
_ENCODER_LOSSES = {"mse": "squared error", "cosine": "1 - cosine", "similarity": "nats/text"}

_RATIOLESS = ("share", "cosine", "correlation")
"""Units in which half of a value is not half as much."""

_ADDED = ("baseline", "measured-lineage", "inherited-errors", "cost")

Row = dict[str, Any]
Described = Sequence[tuple[str, str, str]]


def write_run_report(run: Path) -> Path:
    """Write ``report.html`` into the folder of a finished run and return its path.

    Raises:
        CaseError: the folder is not that of a finished run, or its files are malformed.
        StorageError: the disk is full.
    """
    path = run / "report.html"
    atomic_write(path, run_html(run).encode())
    return path


def run_html(run: Path) -> str:
    """Return the report of a finished run: the same files give the same bytes.

    Raises:
        CaseError: the folder is not that of a finished run, or its files are malformed.
    """
    lineage = _read(run / "lineage.json")
    rows = _rows(run / "metrics.jsonl")
    files = _files(run, lineage)
    board = _read(run / "fidelity.json") if (run / "fidelity.json").is_file() else None
    added = {name: read_added(run, f"{name}.json") for name in _ADDED}
    try:
        return _rendered(lineage, rows, files, board, added)
    except (KeyError, TypeError) as error:
        raise CaseError(f"{run / 'lineage.json'} is malformed: {error!r}") from error


def _rendered(
    lineage: Row,
    rows: Sequence[Row],
    files: list[ListedFile],
    board: Row | None,
    added: dict[str, Row | None],
) -> str:
    described, unit = _described(lineage)
    plates = (_holdout_plate(rows, *holdout) for holdout in described)
    exhibits = numbered([_training_plate(rows, unit), *plates])
    student = learned(board, added["baseline"], first=len(exhibits) + 1)
    audited, cost = added["measured-lineage"], added["cost"]
    return (
        html_templates()
        .get_template("distillation.html.j2")
        .render(
            summary=summary(lineage),
            cards=[
                *share_card(added["baseline"]),
                *_cards(lineage["results"], described, unit),
            ],
            exhibits=exhibits,
            student=student,
            audited=audited,
            audited_table=None if audited is None else lineage_table(audited),
            inherited=inherited_section(added["inherited-errors"]),
            cost=None if cost is None else cost_facts(cost),
            lineage=lineage,
            models=[
                (role, lineage[role])
                for role in ("teacher", "student")
                if lineage[role] is not None
            ],
            dose=_dose(lineage["dose"]),
            data=list(flat(lineage["data"])),
            recipe=list(flat(lineage["recipe"]["content"])),
            environment=list(flat(lineage["environment"])),
            files=files,
            checksums=checksum_lines(files),
        )
    )


def _described(lineage: Row) -> tuple[Described, str]:
    """Return what is shown of the held-out part, and the unit of the training loss."""
    method = lineage["method"]
    if method["kind"] != "embedding":
        # Two alignments of other tokens are not in nats.
        own = lineage["vocabulary"].get("alignment") in ("span-kl", "uld")
        return _HOLDOUT, "a target" if own else "nats/token"
    unit = _ENCODER_LOSSES[method["embedding"]["loss"]]
    return (*_ENCODER, ("loss", "Held-out loss", unit)), unit


def summary(lineage: Row) -> str:
    """Return what was done, in one sentence."""
    student, teacher = lineage["student"], lineage["teacher"]
    method = lineage["method"]
    how = _METHODS.get(method["kind"], f"by the method {method['kind']}")
    if method["kind"] in ("logits", "on-policy"):
        how += f" ({_loss(method, lineage['vocabulary'])})"
    of_whom = "" if teacher is None else f", teacher {teacher['spec']}"
    steps = words.counted(lineage["results"]["steps"], "step")
    size = student["parameters"]
    parameters = "" if size is None else f" of {size:,} parameters"
    return f"A student{parameters} was trained for {steps} {how}{of_whom}."


def _loss(method: Row, vocabulary: Row) -> str:
    """Return what was compared, in a few words."""
    alignment = vocabulary.get("alignment")
    if alignment is None:
        return str(method["divergence"])
    inside = f", {method['divergence']}" if alignment == "matched-vocabulary" else ""
    return f"{alignment}{inside}; the teacher has other tokens"


def _cards(results: Row, described: Described, unit: str) -> list[dict[str, str]]:
    holdout = results["holdout"]
    if holdout is None:
        loss = results["loss"]
        return [_card("Training loss", unit, loss["start"], loss["end"])]
    cards = []
    for key, title, of in described:
        start, end = holdout["start"].get(key), holdout["end"].get(key)
        if end is not None:
            cards.append(_card(title, of, start, end))
    return cards


def _card(title: str, unit: str, start: float | None, end: float) -> dict[str, str]:
    before = "not known" if start is None else words.number(start)
    ratio = f", {words.number(end / start, 3)} of that" if start and unit not in _RATIOLESS else ""
    return {
        "title": title,
        "unit": unit,
        "value": words.number(end),
        "note": f"before training {before}{ratio}",
    }


def _dose(dose: Row) -> list[tuple[str, str]]:
    return [
        ("Training targets, repeats counted", f"{dose['gradient_tokens']:,} tokens"),
        ("Of these from the teacher", f"{dose['teacher_tokens']:,} tokens"),
        ("Weight of the teacher in the loss", f"{words.number(100 * dose['share'], 3)} %"),
    ]


def _training_plate(rows: Sequence[Row], unit: str) -> Plate | None:
    points = [(float(row["step"]), float(row["loss"])) for row in rows if "loss" in row]
    if not points:
        return None
    shown = thinned(points)
    first, last = points[0], points[-1]
    caption = f"Training loss over {words.counted(len(points), 'step')}"
    if len(shown) < len(points):
        caption += f", as means of {len(shown)} equal stretches"
    caption += f": {words.number(first[1])} at the first, {words.number(last[1])} at the last."
    drawn = curve("training", Curve(points=tuple(shown)), x="step", y=unit)
    return Plate(
        svg=labelled(drawn, caption),
        title="Training loss",
        caption=caption,
        table=_table(f"Loss ({unit})", thinned(points, 40)),
    )


def _holdout_plate(rows: Sequence[Row], key: str, title: str, unit: str) -> Plate | None:
    points = [
        (float(row["step"]), float(row["holdout"][key]))
        for row in rows
        if row.get("holdout", {}).get(key) is not None
    ]
    if not points:
        return None
    name = f"{title}, held-out part" if key != "loss" else title
    caption = (
        f"{name}: {words.number(points[0][1])} before training, {words.number(points[-1][1])} "
        f"after {words.counted(int(points[-1][0]), 'step')}. The student was not trained on it."
    )
    drawn = curve(f"holdout-{key}", Curve(points=tuple(points)), x="step", y=unit)
    return Plate(
        svg=labelled(drawn, caption),
        title=name,
        caption=caption,
        table=_table(f"{title} ({unit})", points),
    )


def _table(column: str, points: Sequence[tuple[float, float]]) -> Table:
    return Table(
        columns=("Step", column),
        rows=tuple((words.number(step), words.number(value)) for step, value in points),
    )


def thinned(
    points: Sequence[tuple[float, float]], most: int = _MOST_POINTS
) -> list[tuple[float, float]]:
    """Return at most `most` points, each the mean of an equal stretch of the (x, y) given."""
    if len(points) <= most:
        return list(points)
    bounds = [len(points) * i // most for i in range(most + 1)]
    stretches = [points[a:b] for a, b in pairwise(bounds)]
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
        for part in stretches
    ]


def _files(run: Path, lineage: Row) -> list[ListedFile]:
    """Return the files that the lineage lists, with the size they have now."""
    listed = []
    for name, digest in sorted(lineage.get("files", {}).items()):
        path = run / name
        size = path.stat().st_size if path.is_file() else None
        listed.append(ListedFile(name, size, digest.removeprefix("sha256:")))
    return listed


def _read(path: Path) -> Row:
    try:
        value: Row = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CaseError(
            f"{path} is missing", hint="is this the folder of a finished distillation?"
        ) from error
    except ValueError as error:
        raise CaseError(f"{path} is not JSON: {error}") from error
    return value


def _rows(path: Path) -> list[Row]:
    """Return the whole lines of the metrics."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError as error:
        raise CaseError(f"{path} is missing", hint="restore the file from a copy") from error
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise CaseError(f"{path} is not JSON lines: {error}") from error
