"""Asks the teacher again for some of its recorded embeddings, which must come out the same."""

import json
import random
from typing import Any

from auditor.canon import digest
from auditor.distill.documents import read_sources
from auditor.distill.embedding_folder import encoder_reference
from auditor.distill.embedding_subjects import teacher_folder
from auditor.distill.embedding_targets import GROUP, vectors_of, whole_lines
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_check import Clause
from auditor.distill.recipe import Recipe
from auditor.errors import CaseError
from auditor.progress import Progress


def repeat_embeddings(run: FinishedRun, recipe: Recipe, calls: int, progress: Progress) -> Clause:
    """Draw `calls` recorded embeddings at random and let the teacher give them again.

    Each is computed again together with its whole group, as rounding depends on what shares a
    batch; on another kind of machine a difference is therefore no proof of a change.

    Args:
        run: a finished run of method embedding.
        recipe: the recipe as it was run.
        calls: embeddings to compare, at least 1; all of them where there are fewer.
        progress: shows the groups.

    Raises:
        CaseError: the teacher or the data are others now.
        SubjectError, RecipeError: the teacher or the data cannot be read.
    """
    from auditor.models.encoder import open_encoder

    rows = [json.loads(line) for line in whole_lines(run.folder.embeddings)]
    total = sum(len(row["texts"]) for row in rows)
    chosen = sorted(random.SystemRandom().sample(range(total), min(calls, total)))
    texts = _texts(run, recipe)
    source = teacher_folder(recipe)
    found = encoder_reference(source).digest
    if found != run.lineage["teacher"]["digest"]:
        raise CaseError(
            f"{recipe.teacher} has the digest {found}: it is not the teacher of the run",
            hint="give the recipe whose teacher is still there",
        )
    teacher, differ = open_encoder(str(source.path)), []
    groups = sorted({number // GROUP for number in chosen})
    with progress.task("teacher embeds again", len(groups)) as task:
        for group in groups:
            again = teacher.vectors([texts[key] for key in rows[group]["texts"]])
            differ += _different(rows[group], again, group * GROUP)
            task.advance()
    return _outcome(len(chosen), [number for number in chosen if number in {*differ}])


def _texts(run: FinishedRun, recipe: Recipe) -> dict[str, str]:
    """Return the run's texts by digest."""
    sources = read_sources(recipe)
    if sources.digests != run.lineage["data"]["sources"]:
        raise CaseError(
            "the data that the recipe names are not those of the run",
            hint="restore the files that the run was made from",
        )
    return {digest(text.encode()): text for text in sources.documents}


def _different(row: dict[str, Any], again: Any, first: int) -> list[int]:
    """Return the numbers, from `first`, of the vectors that are not the recorded ones."""
    pairs = zip(vectors_of(row), again, strict=True)
    return [first + n for n, (a, b) in enumerate(pairs) if a.tobytes() != b.tobytes()]


def _outcome(compared: int, differ: list[int]) -> Clause:
    if differ:
        detail = f"{len(differ)} of {compared} embeddings differ, the first of text {differ[0] + 1}"
        return Clause(name="calls", passed=False, detail=detail)
    detail = f"the teacher gives {compared} embeddings again as they are recorded"
    return Clause(name="calls", passed=True, detail=detail)
