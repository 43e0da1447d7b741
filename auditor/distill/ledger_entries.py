"""What a run writes into its ledger outside the training loop, in the order of the work.

Each function adds what a killed run had not written yet, and nothing twice.
"""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from auditor.canon import file_digest, leaf_hash
from auditor.distill.checkpoints import bound_head, checkpoint_body
from auditor.distill.data import TrainingData
from auditor.distill.documents import Sources
from auditor.distill.generate import GROUP
from auditor.distill.ledger import SEGMENT, Ledger, segment_roots
from auditor.distill.ledger_samples import (
    sample_digests,
    samples_root,
    write_samples,
    write_sequences,
)
from auditor.distill.recipe import Recipe
from auditor.distill.run_folder import RunFolder
from auditor.distill.subjects import Subjects
from auditor.merkle import merkle_root
from auditor.types import ModelRef, Sample


def record_start(
    folder: RunFolder,
    recipe: Recipe,
    subjects: Subjects,
    sources: Sources,
    environment: dict[str, Any],
) -> None:
    """Record what a run starts from: environment, permission, teacher, data as the recipe names it.

    Raises:
        CaseError: the ledger was changed, or is another run's.
        StorageError: the disk is full.
    """
    ledger = Ledger(folder.ledger)
    if not ledger.records:
        ledger.append("environment", environment)
    if subjects.permission is not None:
        ledger.complete("permission", [subjects.permission.as_json()])
    if subjects.teacher is not None:
        # As the recipe writes it: where a folder lies is no part of what was done.
        teacher = {"spec": recipe.teacher, **identity_json(subjects.teacher)}
        if subjects.alignment is not None:
            teacher["alignment"] = subjects.alignment
        ledger.complete("teacher", [teacher])
    counts = {
        "documents": len(sources.documents),
        "prompts": len(sources.prompts),
        "repeated_prompts": sources.repeated,
    }
    named = sorted(sources.digests.items())
    ledger.complete("data", [*({"source": name, "digest": d} for name, d in named), counts])


def identity_json(model: ModelRef) -> dict[str, Any]:
    """Return what tells a model from others, wherever it lies."""
    return {
        "digest": model.digest,
        "tokenizer_digest": model.tokenizer_digest,
        "template_digest": model.template_digest,
        "parameters": model.parameters,
    }


def record_answers(folder: RunFolder, samples: int) -> None:
    """Record the teacher's answers, a Merkle root for each group that was drawn together.

    Raises:
        CaseError: the answers are not those on record.
        StorageError: the disk is full.
    """
    if folder.generations.is_file():
        Ledger(folder.ledger).complete("generation", answer_groups(folder.generations, samples))


def answer_groups(path: Path, samples: int) -> list[dict[str, Any]]:
    """Return ``{"first", "answers", "root"}`` of each group of lines of generations.jsonl.

    Args:
        path: of the file.
        samples: answers to a prompt.
    """
    size = GROUP * samples
    found: list[dict[str, Any]] = []
    with path.open("rb") as stream:
        hashes = (leaf_hash(line[:-1]) for line in stream if line.endswith(b"\n"))
        while group := list(islice(hashes, size)):
            root = merkle_root(group)
            found.append({"first": len(found) * size, "answers": len(group), "root": root})
    return found


def record_training(
    folder: RunFolder,
    recipe: Recipe,
    sources: Sources,
    answers: Sequence[Sample],
    data: TrainingData,
) -> None:
    """Write samples.txt and sequences.jsonl, and record them with the cache and the training.

    Raises:
        CaseError: what stands on record is another training.
        StorageError: the disk is full.
    """
    digests = sample_digests(sources, answers, recipe.data.holdout, data.filtered_answers)
    write_samples(folder.samples, digests)
    write_sequences(folder.sequences, data.train)
    ledger = Ledger(folder.ledger)
    # A shared cache may have grown since the training began.
    if recipe.method.cache is not None and not ledger.bodies("train_config"):
        path = recipe.method.cache.path
        root = folder.root / "cache" if path is None else recipe.path(path)
        ledger.complete("cache_shard", cache_shards(root))
    config = {
        "recipe": recipe.digest,
        "sequences": {"count": len(data.train), "digest": file_digest(folder.sequences)},
        "samples": samples_root(digests),
        "holdout_targets": data.record["holdout_targets"],
    }
    ledger.complete("filter", data.record["filters"])
    ledger.complete("train_config", [config])


def cache_shards(root: Path) -> list[dict[str, Any]]:
    """Return a body for each shard of a cache and of the cache of what is held out."""
    found = []
    for part, folder in (("train", root), ("holdout", root / "holdout")):
        if (folder / "manifest.json").is_file():
            shards = json.loads((folder / "manifest.json").read_bytes())["shards"]
            found += [{"part": part, **shard} for shard in shards]
    return found


def resume_ledger(
    folder: RunFolder, found: tuple[Path, int] | None, environment: dict[str, Any]
) -> None:
    """Cut the ledger back to the checkpoint, and its step, from which the training goes on.

    Raises:
        CaseError: the ledger and the checkpoint do not belong together.
        StorageError: the disk is full.
    """
    ledger = Ledger(folder.ledger)
    if found is None:
        ledger.keep_until(-1, None)
    else:
        checkpoint, step = found
        ledger.keep_until(step, bound_head(checkpoint))
        ledger.append("checkpoint", checkpoint_body(checkpoint))
    # Other packages or threads than at the start are on record where they take over.
    ledger.note("environment", environment)


def record_student(folder: RunFolder, student: ModelRef) -> dict[str, Any]:
    """Close the ledger with the student; return what a lineage keeps of the ledger.

    Raises:
        StorageError: the disk is full.
    """
    ledger = Ledger(folder.ledger)
    ledger.complete("student", [identity_json(student)])
    return ledger_summary(ledger)


def ledger_summary(ledger: Ledger) -> dict[str, Any]:
    """Return head, number of records and Merkle roots of a ledger that holds a training."""
    return {
        "head": ledger.head,
        "records": len(ledger.records),
        "roots": {
            "segment": SEGMENT,
            "segments": segment_roots(ledger.records),
            "samples": ledger.bodies("train_config")[-1]["samples"],
        },
    }
