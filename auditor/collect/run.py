"""Collect a case: every subject is asked everything, then the scorers are given what all replied.

Only what is missing is done. A run that was killed at any moment and repeated leaves the same
bytes in ``data/`` as one that was not, but for custody.jsonl, which holds the times.
"""

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import auditor
from auditor.canon import canonical_json, file_digest, json_digest
from auditor.case import Case, atomic_write
from auditor.collect.agreement import has_head, states_path
from auditor.collect.collection import Collection
from auditor.collect.crossing import collect_crossing, scorers
from auditor.collect.custody import Custody
from auditor.collect.embedding import distinct_texts, embed_texts, place_embeddings
from auditor.collect.environment import environment
from auditor.collect.failures import Failures, lent
from auditor.collect.servers import Servers, ServerTerms
from auditor.collect.shelf import Shelf
from auditor.collect.subject import read_stage
from auditor.collect.suite import copy_suite, load_suite
from auditor.errors import CaseError, MissingExtraError, SuiteError
from auditor.exchanges import failed_attempts, is_served, server_row
from auditor.failed import standing
from auditor.progress import Progress
from auditor.stored import iterate_records

if TYPE_CHECKING:
    from auditor.collect.embedding import Encoder
    from auditor.collect.executors import Executor

SCHEMA = "auditor/collected/1"


def collect_case(
    case: Case,
    progress: Progress,
    terms: ServerTerms | None = None,
    executor: "Executor | None" = None,
) -> None:
    """Write every output that the plan asks for and the case lacks. The caller holds the lock.

    Args:
        case: with its plan.
        progress: shows it.
        terms: how servers may be asked.
        executor: whose workers run the models; None: this process does. The bytes are the same.

    Raises:
        ExecutorError: it cannot be reached, or loses its workers; repeat the call to continue.
        ServerError: a server is not there, or goes on failing; repeat the call to continue. Not of
            the suspects of a scan.
        BudgetError: a limit of `terms` is reached; repeat the call with a larger one to continue.
        CaseError: a model, a suite or a file is not the one that was planned or written.
        SubjectError: a model cannot be loaded any more; of the suspects of a scan, none.
        StorageError: the disk is full; repeat the call to continue.
    """
    plan = case.read_json("plan.json")
    if all(collected_path(case, subject["name"]).is_file() for subject in plan["subjects"]):
        _drop_scratch(case)  # a kill may have left some
        return
    with Custody(case) as custody:
        run = Collection(case=case, plan=plan, custody=custody, progress=progress)
        custody.log("collecting", plan=json_digest(plan), auditor=auditor.__version__)
        _copy_suites(run)
        _write_environment(run)
        again = {subject["spec"] for subject in scorers(run)}
        with Shelf(plan, again, served=Servers(case, terms).open) as shelf:
            uncrossed = _run_models(run, shelf, executor)
        _finish(run, uncrossed)
    _drop_scratch(case)


def _run_models(run: Collection, shelf: Shelf, executor: "Executor | None") -> dict[str, str]:
    """Have the models say and score everything; return why the crossing lacks something."""
    failures = Failures(run)
    here = partial(_collect_model, run, shelf, failures)
    pending = _pending(run, failures, shelf)
    if executor is None:
        for subjects in pending.values():
            here(subjects)
        failures.write()
        return collect_crossing(run, shelf)
    from auditor.collect.fan_out import FanOut

    with executor:
        workers = FanOut(run, executor)
        workers.collect(pending, here, failures.add)
        failures.write()
        return collect_crossing(run, shelf, workers.cross)


def collected_path(case: Case, subject: str) -> Path:
    """Return the file that says that a subject is complete."""
    return case.data / "collected" / f"{subject}.json"


def _copy_suites(run: Collection) -> None:
    for entry in run.plan["suites"]:
        name = f"{entry['name']}@{entry['version']}"
        folder = run.case.data / "probes" / name
        if _suite_digest(folder) == entry["digest"]:
            continue
        copy_suite(entry.get("source", name), folder)
        found = _suite_digest(folder)
        if found != entry["digest"]:
            raise CaseError(
                f"the suite {name} is not the one that was planned: "
                f"its digest is {found}, planned {entry['digest']}",
                hint="restore the suite, or start a new case with another --out",
            )


def _suite_digest(folder: Path) -> str | None:
    try:
        return load_suite(folder).digest
    except SuiteError:  # no copy yet, or one that was cut short
        return None


def _write_environment(run: Collection) -> None:
    """Describe the machine of the first run; that of a later one goes to custody if it differs."""
    found = environment(run.plan)
    if not (run.case.data / "environment.json").is_file():
        run.case.write_json("environment.json", found)
    elif run.case.read_json("environment.json") != found:
        run.custody.log("environment changed", environment=found)


def _pending(run: Collection, failures: Failures, shelf: Shelf) -> dict[str, list[dict[str, Any]]]:
    """Return the subjects whose model is still needed, by specifier, the reference first."""
    case, subjects = run.case, run.plan["subjects"]
    lacking = [s for s in subjects if _model_result(case, s["name"]) is None]
    waiting = [s for found in failures.still(shelf, _by_spec(lacking)).values() for s in found]
    kept = states_path(case, run.reference).is_file() and has_head(case, run.reference)
    if waiting and not kept and subjects[0] not in waiting:
        # Its hidden states lay in work/ and are gone; the others need them again.
        waiting.insert(0, subjects[0])
    return _by_spec(waiting)


def _by_spec(subjects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    by_spec: dict[str, list[dict[str, Any]]] = {}
    for subject in subjects:
        by_spec.setdefault(subject["spec"], []).append(subject)
    return by_spec


def _collect_model(
    run: Collection, shelf: Shelf, failures: Failures, subjects: list[dict[str, Any]]
) -> None:
    """Ask one model everything, for each of the subjects that it is."""
    with ExitStack() as stack:
        model = lent(stack, shelf, run.plan, subjects)
        if isinstance(model, dict):
            failures.add(subjects, model)
            return
        failures.collect(model, subjects)


def _model_result(case: Case, name: str) -> dict[str, Any] | None:
    """Return what the model stage of a subject left, or None where it has not ended."""
    result = read_stage(case, name)
    if result is None and collected_path(case, name).is_file():
        result = case.read_json(f"collected/{name}.json")
    return result


def _finish(run: Collection, uncrossed: dict[str, str]) -> None:
    """Embed all replies, list the failures, and declare every subject complete.

    Args:
        run: the collection, with everything that models say.
        uncrossed: why the crossing lacks something, by subject.
    """
    encoder, reason = _embed(run)
    names = [subject["name"] for subject in standing(run.case)]
    _write_errors(run.case, names)
    _write_server_rows(run)
    for name in names:
        result = _model_result(run.case, name) or {}
        late = {"embeddings": reason, "crossing": uncrossed.get(name)}
        missing = {what: why for what, why in result["missing"].items() if what not in late}
        missing |= {what: why for what, why in late.items() if why}
        collected = {
            "schema": SCHEMA,
            "implementation": result["implementation"],
            "missing": missing,
            "encoder": encoder,
            "digests": _digests(run.case, name),
        }
        # Before the file: a kill in between has it logged again, the other way round never.
        run.custody.log("collected", name=name, digest=json_digest(collected))
        run.case.write_json(f"collected/{name}.json", collected)


def _write_server_rows(run: Collection) -> None:
    """Put into subjects.json what the logs say of the servers."""
    planned = {subject["name"]: subject for subject in run.plan["subjects"]}
    if not any(is_served(subject["spec"]) for subject in planned.values()):
        return
    content = run.case.read_json("subjects.json")
    for row in content["subjects"]:
        subject = planned[row["name"]]
        if is_served(subject["spec"]):
            row["server"] = server_row(run.case, run.plan, subject)
    run.case.write_json("subjects.json", content)


def _embed(run: Collection) -> tuple[dict[str, Any] | None, str | None]:
    """Write the embeddings of every subject; return the encoder, or why there is none."""
    name = run.plan["encoder"]
    if name is None:
        return None, "the plan names no encoder"
    from auditor.models.encoder import open_encoder

    try:
        encoder: Encoder = open_encoder(name)
    except MissingExtraError as error:
        return None, error.message if error.hint is None else f"{error.message}: {error.hint}"
    subjects = [subject["name"] for subject in standing(run.case)]
    found = distinct_texts(run.case, subjects)
    run.show("embed replies", len(found), embed_texts(run, found, encoder))
    for subject in subjects:
        place_embeddings(run.case, subject, found, encoder)
    return dict(encoder.ref), None


def _write_errors(case: Case, subjects: list[str]) -> None:
    """Write errors.jsonl: every planned reply that is not there, every attempt that had none."""
    lines = [
        canonical_json({key: record[key] for key in _ERROR_KEYS}) + b"\n"
        for subject in subjects
        for record in iterate_records(case, subject)
        if record["outcome"] == "error"
    ]
    lines += [
        canonical_json(row) + b"\n" for name in subjects for row in failed_attempts(case, name)
    ]
    atomic_write(case.data / "errors.jsonl", b"".join(lines))


_ERROR_KEYS = ("subject", "suite", "probe_id", "repeat", "attempt", "error")


def _drop_scratch(case: Case) -> None:
    """Free the disk: a complete case needs none of the reference's states, nor the caches."""
    for folder in _SCRATCH:
        shutil.rmtree(case.work / folder, ignore_errors=True)


_SCRATCH = (
    "activations",
    "attempts",
    "crossing",
    "draws",
    "embeddings",
    "head",
    "hidden",
    "means",
    "scores",
    "stage",
    "tasks",
    "tensors",
    "weights",
)


def _digests(case: Case, subject: str) -> dict[str, str]:
    files = [
        *case.data.glob(f"exchanges/{subject}.jsonl"),
        *case.data.glob(f"records/{subject}/*.jsonl"),
        *case.data.glob(f"arrays/*/{subject}.npy"),
    ]
    return {path.relative_to(case.data).as_posix(): file_digest(path) for path in sorted(files)}
