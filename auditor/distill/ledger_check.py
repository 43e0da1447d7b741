"""Checks a finished run against its own record: clause by clause, from its folder alone.

What it cannot show: that the record was true when it was written. It shows that nothing was changed
since, given a lineage.json that is trusted, and that the parts of the record agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auditor.canon import directory_digests, file_digest, json_digest, tree_digest
from auditor.distill.batches import training_order
from auditor.distill.embedding_targets import embedding_groups
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger import Record, segment_roots
from auditor.distill.ledger_entries import answer_groups, cache_shards
from auditor.distill.ledger_samples import (
    batch_digest,
    iterate_samples,
    read_sequences,
    samples_root,
)
from auditor.distill.lineage import file_digests
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run_folder import ADDED, AUDIT
from auditor.errors import AuditorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One thing that was checked."""

    name: str
    passed: bool | None
    """None where it could not be asked; `detail` says why."""
    detail: str
    """What holds, or what does not."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"name": self.name, "passed": self.passed, "detail": self.detail}


def verify(run: FinishedRun) -> list[Clause]:
    """Return every clause with its outcome; none stops the others."""
    return [_clause(name, holds, check, run) for name, (holds, check) in _CHECKS.items()]


def _clause(
    name: str, holds: str, check: Callable[[FinishedRun], str | None], run: FinishedRun
) -> Clause:
    try:
        problem = check(run)
    except (AuditorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"cannot be checked: {error}" if str(error) else f"cannot be checked: {error!r}"
    return Clause(name=name, passed=problem is None, detail=holds if problem is None else problem)


def _chain(run: FinishedRun) -> str | None:
    return None if run.problem is None else f"ledger.jsonl, {run.problem}"


def _head(run: FinishedRun) -> str | None:
    named = run.lineage["ledger"]
    found = {
        "records": len(run.records),
        "head": run.records[-1].hash if run.records else "",
        "segments": segment_roots(run.records),
    }
    wanted = {
        "records": named["records"],
        "head": named["head"],
        "segments": named["roots"]["segments"],
    }
    differ = [key for key, value in found.items() if wanted[key] != value]
    if "records" in differ:
        return f"{found['records']} whole records, and lineage.json names {wanted['records']}"
    return f"lineage.json names other {', '.join(differ)}" if differ else None


def _files(run: FinishedRun) -> str | None:
    found, listed = file_digests(run.folder.root), run.lineage["files"]
    for name in sorted({*found, *listed}):
        if name not in found:
            return f"{name} is missing"
        if name not in listed and name not in ADDED and not name.startswith(AUDIT):
            return f"{name} is not in lineage.json"
        if name in listed and found[name] != listed[name]:
            return f"{name} was changed"
    return None


def _recipe(run: FinishedRun) -> str | None:
    import yaml

    named = run.lineage["recipe"]
    digests = {
        "lineage.json": named["digest"],
        "the recipe in lineage.json": json_digest(named["content"]),
        "recipe.yaml": recipe_from(yaml.safe_load(run.folder.recipe.read_bytes())).digest,
        "inputs.json": run.inputs()["recipe"],
        "the ledger": run.last("train_config")["recipe"],
    }
    return _disagreement(digests)


def _permission(run: FinishedRun) -> str | None:
    recorded, named = run.bodies("permission"), run.lineage["permission"]
    if recorded != ([] if named is None else [named]):
        return "the ledger and lineage.json record different permissions"
    return _disagreement(
        {"lineage.json": named and named["digest"], "inputs.json": run.inputs()["permission"]}
    )


def _teacher(run: FinishedRun) -> str | None:
    recorded, named = run.bodies("teacher"), run.lineage["teacher"]
    digests = {
        "lineage.json": named and named["digest"],
        "the ledger": recorded[0]["digest"] if recorded else None,
        "inputs.json": run.inputs()["teacher"],
    }
    return _disagreement(digests)


def _data(run: FinishedRun) -> str | None:
    recorded = {b["source"]: b["digest"] for b in run.bodies("data") if "source" in b}
    named = run.lineage["data"]["sources"]
    if recorded != named or run.inputs()["data"] != named:
        return "the ledger, inputs.json and lineage.json name different data"
    return None


def _answers(run: FinishedRun) -> str | None:
    recorded = run.bodies("generation")
    if not run.folder.generations.is_file():
        return "generations.jsonl is missing" if recorded else None
    found = answer_groups(run.folder.generations, run.recipe().data.sampling.samples)
    return _changed_group("generations.jsonl", "lines", found, recorded)


def _embeddings(run: FinishedRun) -> str | None:
    recorded = run.bodies("embedding")
    if not run.folder.embeddings.is_file():
        return "embeddings.jsonl is missing" if recorded else None
    found = embedding_groups(run.folder.embeddings)
    return _changed_group("embeddings.jsonl", "texts", found, recorded)


def _changed_group(
    name: str, of: str, found: list[dict[str, Any]], recorded: list[dict[str, Any]]
) -> str | None:
    for mine, theirs in zip(found, recorded, strict=False):
        if mine != theirs:
            return f"{name} was changed in the group of {of} that begins with {mine['first'] + 1}"
    return None if len(found) == len(recorded) else f"{name} lacks or adds groups"


def _cache(run: FinishedRun) -> str | None:
    choice = run.recipe().method.cache
    if choice is None or choice.path is not None:
        return None
    same = cache_shards(run.folder.root / "cache") == run.bodies("cache_shard")
    return None if same else "the cache's manifests list other shards than the ledger"


def _samples(run: FinishedRun) -> str | None:
    found = samples_root(iterate_samples(run.folder.samples))
    named = (run.lineage["ledger"]["roots"]["samples"], run.last("train_config")["samples"])
    return None if named == (found, found) else "samples.txt does not have the root on record"


def _batches(run: FinishedRun) -> str | None:
    """Derive each step's sequences again from the lengths, the seed and the budget."""
    listed = read_sequences(run.folder.sequences)
    recipe, recorded = run.recipe(), run.bodies("batch")
    train, drawn = recipe.train, recipe.method.on_policy is not None
    if file_digest(run.folder.sequences) != run.last("train_config")["sequences"]["digest"]:
        return "sequences.jsonl is another than the ledger names"
    chosen = training_order(
        listed.lengths, steps=train.steps, batch_tokens=train.batch_tokens, seed=train.seed
    )
    for step, (rows, body) in enumerate(zip(chosen, recorded, strict=False), start=1):
        expected = {
            "step": step,
            "sequences": batch_digest(listed.keys, rows.tolist()),
            # How long the student's own answers were, its weights alone could say.
            "tokens": body["tokens"] if drawn else int(listed.targets[rows].sum()),
        }
        if body != expected:
            return f"the ledger's batch of step {step} is not the one that the seed gives"
    if len(recorded) != train.steps:
        return f"{len(recorded)} batches on record, and the recipe has {train.steps} steps"
    return None


def _checkpoints(run: FinishedRun) -> str | None:
    from auditor.distill.training import save_every

    recipe = run.recipe()
    every, steps = save_every(recipe), recipe.train.steps
    found = [_saved_step(run.records, record) for record in run.records if _is_saved(record)]
    if None in found:
        return "a checkpoint on record does not follow the batch of its step"
    if [step for step in found if step != steps] != list(range(every, steps, every)):
        return f"the checkpoints on record are not those of every {every} steps"
    return None


def _is_saved(record: Record) -> bool:
    return record.kind == "checkpoint"


def _saved_step(records: list[Record], saved: Record) -> int | None:
    """Return a checkpoint's step; None where the line before is not the batch of that step."""
    before = records[saved.seq - 1]
    step: int = saved.body["step"]
    return step if before.kind == "batch" and before.body["step"] == step else None


def _tokens(run: FinishedRun) -> str | None:
    losses = [row for row in MetricsLog(run.folder.metrics).rows() if "loss" in row]
    return _disagreement(
        {
            "the ledger's batches": sum(body["tokens"] for body in run.bodies("batch")),
            "lineage.json": run.lineage["dose"]["gradient_tokens"],
            "metrics.jsonl": losses[-1]["tokens"],
        }
    )


def _student(run: FinishedRun) -> str | None:
    if not run.records or run.records[-1].kind != "student":
        return "the ledger does not end with the student"
    return _disagreement(
        {
            "student/": _student_digest(run),
            "lineage.json": run.lineage["student"]["digest"],
            "the ledger": run.last("student")["digest"],
        }
    )


def _student_digest(run: FinishedRun) -> str | None:
    from auditor.models.specifier import identify

    if run.lineage["method"]["kind"] == "embedding":  # all its parts, not the transformer alone
        return tree_digest(directory_digests(run.folder.student))
    return identify(f"local:{run.folder.student}").digest


def _disagreement(values: dict[str, Any]) -> str | None:
    """Return the names with their values where these are not all equal."""
    if len({json_digest(value) for value in values.values()}) == 1:
        return None
    return ", ".join(f"{name}: {value}" for name, value in values.items())


_CHECKS: dict[str, tuple[str, Callable[[FinishedRun], str | None]]] = {
    "chain": ("every line of the ledger follows the one before", _chain),
    "head": ("the ledger's head, length and roots are those in lineage.json", _head),
    "files": ("every file has its digest of lineage.json, and there is no other", _files),
    "recipe": ("recipe.yaml, the ledger and lineage.json are of one recipe", _recipe),
    "permission": ("one permission is on record everywhere", _permission),
    "teacher": ("one teacher is on record everywhere", _teacher),
    "data": ("the data on record are those the run was started with", _data),
    "answers": ("the teacher's answers have their roots in the ledger", _answers),
    "embeddings": ("the teacher's embeddings have their roots in the ledger", _embeddings),
    "cache": ("the cache's shards are those in the ledger", _cache),
    "samples": ("samples.txt is sorted and has its root in lineage.json", _samples),
    "batches": ("each step's batch follows from lengths, seed and budget", _batches),
    "checkpoints": ("checkpoints follow their steps, none is missing", _checkpoints),
    "tokens": ("ledger, dose and metrics count the same tokens", _tokens),
    "student": ("the student is the one in the ledger's last line", _student),
}
