"""Wrong answers of the teacher that a finished run's student repeats: RUN/inherited-errors.json.

Teacher, student and the student before training answer the same questions, whose right answers are
known, greedily. It takes generations, so no run does it unasked; it is added to a finished one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.answers import expected_answer, given_answer
from auditor.canon import file_digest, json_digest, pretty_json
from auditor.case import atomic_write, storage_errors
from auditor.collect.suite import load_suite, select_probes
from auditor.distill.documents import prompt_digest
from auditor.distill.finished_run import FinishedRun, unchanged
from auditor.distill.generate import Generations, decoding_of
from auditor.distill.recipe_data import Sampling
from auditor.distill.rows import ListedRows, Row, scanned
from auditor.distill.untouched import untouched_model
from auditor.error_table import MODELS, Keyed, error_tables
from auditor.errors import InputError
from auditor.progress import Progress, Silent
from auditor.types import Probe, ProbeSuite

if TYPE_CHECKING:
    from auditor.models.base import Model

SCHEMA = "auditor/inherited-errors/1"
DEFAULT_SUITES = ("reasoning",)
"""The shipped suite whose every answer is calculated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What the models are asked, and how long their answers may be."""

    suites: tuple[str, ...] = DEFAULT_SUITES
    probes: int | None = None
    """How many in total; all with a known answer if None."""
    max_new_tokens: int = 128

    def chosen(self) -> tuple[tuple[ProbeSuite, tuple[Probe, ...]], ...]:
        """Return the questions by suite; probes without a known answer are left out.

        Raises:
            InputError: there is none, or two of them ask the same.
            SuiteError: a suite cannot be read.
        """
        suites = [load_suite(name) for name in self.suites]
        keyed = [
            replace(suite, probes=tuple(p for p in suite.probes if p.answer is not None))
            for suite in suites
        ]
        if not any(suite.probes for suite in keyed):
            raise InputError(
                f"no probe of {', '.join(self.suites)} has a known answer",
                hint=f"name a suite with answers (--suite {DEFAULT_SUITES[0]})",
            )
        return select_probes(keyed, self.probes, seed=0)


def inherited_errors(
    run: Path,
    questions: Questions | None = None,
    *,
    teacher: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask teacher, student and untouched student; write RUN/inherited-errors.json and return it.

    The answers are kept in RUN/audit as they come: a repeated call continues them.

    Args:
        run: folder of the finished run.
        questions: what to ask; the shipped suite of calculated answers if None.
        teacher: where the teacher is now, if not where the run found it; any model for a run that
            had none.
        progress: shown while models answer.

    Raises:
        CaseError: it is not a finished run, or its student, its teacher or the answers were
            changed.
        InputError: there is no teacher, no question with a known answer, or the student is a
            sentence encoder.
        SubjectError: a model cannot be found.
        StorageError: the disk is full; repeat the call to continue.
    """
    finished, asked = FinishedRun(run), questions or Questions()
    spec = _teacher(finished, teacher)
    student = f"local:{finished.folder.student}"
    unchanged(student, finished.lineage["student"]["digest"])
    chosen = asked.chosen()
    probes = tuple(probe for _, some in chosen for probe in some)
    sampling = Sampling(temperature=0.0, max_new_tokens=asked.max_new_tokens)
    place = run / "audit" / f"errors-{_tag(spec, probes, sampling)}"
    opened: dict[str, Callable[[], Model]] = {
        "teacher": lambda: _opened(spec),
        "student": lambda: _opened(student),
        "untouched": lambda: untouched_model(finished, spec),
    }
    shown = progress or Silent()
    replies = {
        name: _replies(place / f"{name}.jsonl", opened[name], probes, sampling, shown)
        for name in MODELS
    }
    found = {
        "schema": SCHEMA,
        "run": file_digest(finished.folder.lineage),
        "teacher": spec,
        "suites": [
            {"name": s.name, "version": s.version, "digest": s.digest, "probes": len(some)}
            for s, some in chosen
        ],
        "decoding": decoding_of(sampling).as_json(),
        "answers": place.relative_to(run).as_posix(),
        **tables(probes, replies),
    }
    atomic_write(finished.folder.inherited_errors, pretty_json(found))
    return found


def tables(probes: Sequence[Probe], replies: dict[str, list[str]]) -> dict[str, Any]:
    """Return the tables of `error_tables` and, under ``by_probe``, the answers they count.

    Args:
        probes: (P,) with a known answer each.
        replies: (P,) texts by name of `MODELS`.
    """
    rows = []
    for index, probe in enumerate(probes):
        if probe.answer is None or (expected := expected_answer(probe.answer)) is None:
            raise InputError(f"the probe {probe.id} has no known answer", hint="leave it out")
        answers = {name: given_answer(probe, replies[name][index]) for name in MODELS}
        rows.append(Keyed(category=probe.category, expected=expected, answers=answers))
    return {
        **error_tables(rows),
        "by_probe": [
            {
                "id": probe.id,
                "category": row.category,
                "expected": row.expected,
                "answers": dict(row.answers),
            }
            for probe, row in zip(probes, rows, strict=True)
        ],
    }


def _teacher(finished: FinishedRun, named: str | None) -> str:
    declared = finished.lineage["teacher"]
    if declared is None and named is None:
        raise InputError(
            f"the run {finished.folder.root} declares no teacher whose errors it could repeat",
            hint="name a model to compare its student with (--teacher)",
        )
    if declared is None:
        return str(named)
    return unchanged(named or declared["spec"], declared["digest"])


def _opened(spec: str) -> "Model":
    from auditor.models.specifier import open_model

    return open_model(spec)


def _tag(teacher: str, probes: Sequence[Probe], sampling: Sampling) -> str:
    """Return a name for the folder of the answers: other questions have another."""
    asked = {
        "teacher": teacher,
        "prompts": [prompt_digest(probe) for probe in probes],
        "sampling": sampling.model_dump(mode="json"),
    }
    return json_digest(asked).removeprefix("sha256:")[:8]


def _replies(
    path: Path,
    opened: "Callable[[], Model]",
    probes: Sequence[Probe],
    sampling: Sampling,
    progress: Progress,
) -> list[str]:
    """Return the text of a model's reply to each probe, asking for those that are missing."""
    prompts = scanned([ListedRows("probes", [Row(value=p) for p in probes])], prompt_digest)
    file = Generations(path, prompts, sampling)
    if not file.is_complete:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        model = opened()
        try:
            file.draw(model, progress, who=path.stem)
        finally:
            model.close()
    return [sample.text for sample in file.read()]
