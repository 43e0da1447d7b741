"""Asks a local teacher again for some of its recorded answers, which must come out the same."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditor.distill.documents import read_sources
from auditor.distill.finished_run import FinishedRun
from auditor.distill.generate import BATCH_TOKENS, GROUP, Generations, decoding_of
from auditor.distill.ledger_check import Clause
from auditor.distill.marking import revealed_marks
from auditor.distill.recipe import Recipe
from auditor.errors import CaseError
from auditor.progress import Progress
from auditor.types import Probe, Sample

if TYPE_CHECKING:
    from auditor.models.base import Model

_NAME = "calls"


def repeat_calls(run: FinishedRun, recipe: Recipe, calls: int, progress: Progress) -> Clause:
    """Draw `calls` recorded answers at random and let the teacher give them again.

    An answer is drawn again together with its whole group, as rounding depends on what shares a
    batch; on another kind of machine a difference is therefore no proof of a change.

    Args:
        run: a finished run.
        recipe: the recipe as it was run; relative names start at its own folder.
        calls: answers to compare, at least 1; all of them where there are fewer.
        progress: shows the groups.

    Raises:
        CaseError: `recipe` is not the run's, or the teacher or the data are others now.
        SubjectError, RecipeError: the teacher or the data cannot be read.
    """
    from auditor.models.specifier import open_model, parse

    _check_recipe(run, recipe)
    if recipe.method.kind == "embedding":
        from auditor.distill.embedding_calls import repeat_embeddings

        return repeat_embeddings(run, recipe, calls, progress)
    if recipe.teacher is None or not run.folder.generations.is_file():
        return Clause(name=_NAME, passed=None, detail="the run holds no answers of a teacher")
    spec = recipe.subject(recipe.teacher)
    if parse(spec).scheme in ("records", "openai"):
        return Clause(name=_NAME, passed=None, detail=f"{recipe.teacher} cannot be run here")
    sources = read_sources(recipe)
    if sources.digests != run.lineage["data"]["sources"]:
        raise CaseError(
            "the data that the recipe names are not those of the run",
            hint="restore the files that the run was made from",
        )
    _check_teacher(run, spec)
    recorded = Generations(run.folder.generations, sources.prompts, recipe.data.sampling).read()
    chosen = sorted(random.SystemRandom().sample(range(len(recorded)), min(calls, len(recorded))))
    teacher = open_model(spec, batch_tokens=BATCH_TOKENS)
    for body in run.bodies("marks"):
        revealed_marks(recipe, run.folder, body["commitment"]).watermark(teacher)
    try:
        again = _drawn_again(teacher, recipe, sources.prompts, chosen, progress)
    finally:
        teacher.close()
    return _compared(recorded, again)


def _check_recipe(run: FinishedRun, recipe: Recipe) -> None:
    if recipe.digest != run.lineage["recipe"]["digest"]:
        raise CaseError(
            "the recipe is not the one of the run",
            hint="give the recipe that the run was made with: its copy is RUN/recipe.yaml",
        )


def _check_teacher(run: FinishedRun, spec: str) -> None:
    from auditor.models.specifier import identify

    found = identify(spec).digest
    if found != run.lineage["teacher"]["digest"]:
        raise CaseError(
            f"{spec} has the digest {found}: it is not the teacher of the run",
            hint="give the recipe whose teacher is still there",
        )


def _drawn_again(
    teacher: "Model",
    recipe: Recipe,
    prompts: Sequence[Probe],
    chosen: Sequence[int],
    progress: Progress,
) -> dict[int, Sample]:
    """Return the chosen answers by their line, from 0, as the teacher gives them now."""
    sampling = recipe.data.sampling
    size = GROUP * sampling.samples
    groups = sorted({line // size for line in chosen})
    found: dict[int, Sample] = {}
    with progress.task("teacher answers again", len(groups)) as task:
        for group in groups:
            asked = prompts[group * GROUP : (group + 1) * GROUP]
            drawn = teacher.sample(asked, sampling.samples, decoding_of(sampling), sampling.seed)
            found.update(enumerate(drawn, start=group * size))
            task.advance()
    return {line: found[line] for line in chosen}


def _compared(recorded: Sequence[Sample], again: dict[int, Sample]) -> Clause:
    def content(sample: Sample) -> tuple[Any, ...]:
        return sample.prompt_ids, sample.token_ids, sample.text, sample.finish_reason

    differ = [line for line, sample in again.items() if content(sample) != content(recorded[line])]
    if differ:
        first = differ[0] + 1
        detail = f"{len(differ)} of {len(again)} answers differ, the first in line {first}"
        return Clause(name=_NAME, passed=False, detail=detail)
    detail = f"the teacher gives {len(again)} answers again as they are recorded"
    return Clause(name=_NAME, passed=True, detail=detail)
