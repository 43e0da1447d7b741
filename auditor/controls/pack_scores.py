"""Score every member of a pack as a suspect is scored, beside the controls that ship.

The result is the score table: one line a model, what it is and what its statistics were. Error
rates, likelihood ratios and power are computed from the table alone.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import canonical_json
from auditor.case import Case, atomic_write, open_case
from auditor.controls.members import Member, shipped_members
from auditor.controls.pack_folder import PackFolder
from auditor.controls.pack_training import one_thread
from auditor.controls.recipe import PackRecipe
from auditor.progress import Progress, Silent

if TYPE_CHECKING:
    from auditor.judge.calibration import Calibration
    from auditor.plan import AuditRequest

MEASURES = (
    "neuron-matching",
    "neuron-order-weights",
    "neuron-order-activations",
    "rederived-share",
    "unembedding-span",
    "sample-llr",
    "idiosyncratic-agreement",
    "divergence-gap",
    "residual-correlation",
    "first-token-agreement",
    "first-token-gap",
    "own-residual-correlation",
    "weight-cka",
    "logit-js",
    "logit-top1",
)
SUITES = ("instructions", "continuations", "reasoning", "ood")
PROBES = 64
NEW_TOKENS = 64
_TOGETHER = 124
"""Suspects of one case."""


def score_pack(
    folder: PackFolder, cases: Path, *, processes: int, progress: Progress
) -> list[dict[str, Any]]:
    """Return the score table, a row a member that neither ships nor is the reference.

    Finished cases under `cases` are not computed again.

    Raises:
        CaseError: a case there is another one.
    """
    shipped = {member.name for member in shipped_members(list(folder.members.values()))}
    scored = [member for member in folder.members.values() if member.name not in shipped]
    chunks = [scored[start : start + _TOGETHER] for start in range(0, len(scored), _TOGETHER)]
    rows: dict[int, list[dict[str, Any]]] = {}
    context = get_context("spawn")
    with (
        progress.task("score control models", len(scored)) as task,
        ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as pool,
    ):
        waiting = {
            pool.submit(
                score_members, folder.recipe, folder.root, cases / f"{index:02d}", _names(chunk)
            ): index
            for index, chunk in enumerate(chunks)
        }
        for future in as_completed(waiting):
            rows[waiting[future]] = future.result()
            task.advance(len(rows[waiting[future]]))
    return [row for index in sorted(rows) for row in rows[index]]


def _names(members: Sequence[Member]) -> tuple[str, ...]:
    return tuple(member.name for member in members)


def score_members(
    recipe: PackRecipe, root: Path, case_root: Path, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of some members; in this process."""
    from auditor.case import locked
    from auditor.collect.run import collect_case
    from auditor.measuring import Measuring, measure_case
    from auditor.plan import plan_audit

    folder = PackFolder(recipe, root)
    request = scoring_request(folder, [str(folder.model(name)) for name in names])
    case = open_case(case_root, plan_audit(request))
    with locked(case):
        collect_case(case, Silent())
        if not (case.data / "statistics.json").is_file():
            measure_case(case, Silent(), Measuring(names=MEASURES, resamples=0))
    return list(score_rows_of(case, [folder.members[name] for name in names]))


def read_again(folder: PackFolder, cases: Path, calibration: "Calibration") -> list[dict[str, Any]]:
    """Return the score table of scored cases with the readings that a calibration allows."""
    rows: list[dict[str, Any]] = []
    for root in sorted(path for path in cases.iterdir() if path.is_dir()):
        case = Case(root)
        subjects = case.read_json("plan.json")["subjects"]
        names = [s["name"] for s in subjects if s["role"] == "suspect"]
        rows += score_rows_of(case, [folder.members[name] for name in names], calibration)
    return rows


def scoring_request(folder: PackFolder, suspects: Sequence[str]) -> "AuditRequest":
    """Return the audit of some suspects, by specifier, beside the controls that ship."""
    from auditor.plan import AuditRequest, ControlSpec
    from auditor.types import Decoding

    reference, *controls = shipped_members(list(folder.members.values()))
    return AuditRequest(
        command="scan",
        reference=str(folder.model(reference.name)),
        suspects=tuple(suspects),
        controls=tuple(
            ControlSpec(
                spec=str(folder.model(control.name)),
                role="sibling" if control.role == "sibling" else "independent",
                family=control.family,
            )
            for control in controls
        ),
        suites=SUITES,
        probes=PROBES,
        decoding=Decoding(max_new_tokens=NEW_TOKENS),
        encoder=None,
    )


def score_rows_of(
    case: Case, members: Sequence[Member], calibration: "Calibration | None" = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the suspects of a measured case, each read as if it were the only one.

    Without a calibration it is not known which dose would have been seen, and nobody is cleared.
    """
    from auditor.judge.calibration import weigh
    from auditor.judge.details import scores_of, thresholds_of
    from auditor.judge.evidence import gather_alone
    from auditor.judge.reading import conclude

    statistics = case.read_json("statistics.json")["suspects"]
    digests = {s["name"]: s["digest"] for s in case.read_json("plan.json")["subjects"]}
    evidence = gather_alone(case)
    for member in members:
        found, seen = statistics[member.name], evidence[member.name]
        if calibration is not None:
            weighed = weigh(calibration, scores_of(seen), thresholds_of(seen), seen.architecture)
            seen = replace(seen, seen_dose=weighed.seen.dose if weighed.seen else None)
        conclusion = conclude(seen)
        yield {
            **member.as_json(),
            "digest": digests[member.name],
            "scores": {row["measure"]: _scores(row) for row in found if row["value"] is not None},
            "undefined": {
                row["measure"]: row["undefined"] for row in found if row["value"] is None
            },
            "alike": seen.alike,
            "copy_excluded": seen.copy_excluded is not None,
            "span_excess": seen.span_excess,
            "reading": conclusion.reading,
            "via": conclusion.via,
        }


def _scores(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("value", "z", "rank_p", "predictive_p")}


def write_scores(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the score table: canonical JSON, one line a model."""
    atomic_write(path, b"".join(canonical_json(row) + b"\n" for row in rows))


def read_scores(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a score table."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
