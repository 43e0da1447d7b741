"""A finished run beside its baseline: the same student, taught the same text by nobody.

What a teacher's help is worth shows only against it: any student comes closer to a teacher that
was trained on the same text. The comparison is added to a finished run, whose files stay as they
were; its permission is asked for again, since the teacher is.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import canonical_json, file_digest
from auditor.case import atomic_write
from auditor.distill.documents import Sources, read_sources, split_holdout
from auditor.distill.fidelity import Holdout
from auditor.distill.held_out import held_documents
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.recovered import share_recovered
from auditor.distill.run_folder import RunFolder, read_lineage
from auditor.distill.scoreboard import members_of, own_scores, read_scoreboard, student_scores
from auditor.distill.scores import Scores, beaten, scores_json
from auditor.distill.sequences import Sequences
from auditor.distill.subjects import Subjects, check_subjects
from auditor.errors import BaselineError, CaseError
from auditor.progress import Progress, Silent
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SCHEMA = "auditor/baseline/1"
_PACE = ("accumulate", "save_every", "eval_every")
"""Keys of train that change no weights."""


def check_baseline(recipe: Recipe, baseline: Path, *, accept_unknown: str | None = None) -> None:
    """Refuse a run that is not the baseline of a recipe, before any work.

    Its method is baseline, and its data, the digests of them, its student, tokenizer and training
    are those of the recipe.

    Raises:
        BaselineError: it differs; the message says in what.
        CaseError: it is not a finished run.
        RecipeError, PermissionRefusedError, SubjectError: as `auditor.distill.run.distill`.
    """
    subjects = check_subjects(recipe, accept_unknown)
    _refuse_other(recipe, read_sources(recipe), subjects, baseline)


def compare_baseline(
    recipe: Recipe,
    run: Path,
    baseline: Path,
    *,
    accept_unknown: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write RUN/baseline.json and return it: both students and the teacher on the same targets.

    Holds the share of the teacher gap recovered, over all and by category, the baseline's own
    scores, and whether the student is better than it.

    Raises:
        BaselineError, CaseError: as `check_baseline`; or the run does not fit the recipe, or has
            no held-out part.
        StorageError: the disk is full.
    """
    folder = RunFolder(run)
    sources = read_sources(recipe)
    subjects = check_subjects(recipe, accept_unknown)
    _refuse_other(recipe, sources, subjects, baseline)
    if folder.finished({"recipe": recipe.digest, "data": sources.digests}) is None:
        raise CaseError(f"{run} is not finished", hint="distill the recipe to its end first")
    board = read_scoreboard(folder.fidelity)
    student = own_scores(board)
    with (progress or Silent()).task("compare baseline", 1) as task:
        other = _scores(recipe, sources, subjects, baseline, student)
        task.advance()
    found = {
        "schema": SCHEMA,
        "run": file_digest(folder.lineage),
        "baseline": {
            "run": file_digest(RunFolder(baseline).lineage),
            "student": read_lineage(RunFolder(baseline))["student"]["digest"],
        },
        **comparison(student, other, board["by_sequence"]["category"]),
    }
    atomic_write(folder.baseline, canonical_json(found) + b"\n")
    return found


def comparison(student: Scores, other: Scores, categories: list[str]) -> dict[str, Any]:
    """Return what baseline.json says of two students on the same S sequences.

    Args:
        student: with the teacher's losses.
        other: the baseline's student.
        categories: (S,) of each sequence.
    """
    return {
        **_compared(student, other),
        "categories": [
            {"category": name, **_compared(student, other, members)}
            for name, members in members_of(categories).items()
        ],
        "by_sequence": scores_json(other),
    }


def _compared(student: Scores, other: Scores, members: Array | None = None) -> dict[str, Any]:
    return {
        "scores": other.summary(members),
        "recovered": share_recovered(student, other, members),
        "better": beaten(student, other, members),
    }


def _refuse_other(recipe: Recipe, sources: Sources, subjects: Subjects, baseline: Path) -> None:
    lineage = read_lineage(RunFolder(baseline))
    try:
        theirs = recipe_from(lineage["recipe"]["content"])
        differ = _differences(recipe, theirs)
        if lineage["data"]["sources"] != sources.digests:
            differ.append("what the data files hold")
        if recipe.student.init is not None and not _same_tokens(lineage, subjects):
            differ.append("the tokenizer")
        origin = lineage["student"]["started_from"]
        if subjects.origin is not None and (origin or {}).get("digest") != subjects.origin.digest:
            differ.append("the model that the student starts from")
    except (KeyError, TypeError) as error:
        raise CaseError(f"{baseline} is no whole run: {error!r}") from error
    if differ:
        raise BaselineError(
            f"{baseline} is no baseline of this recipe: it differs in {', '.join(differ)}",
            hint="distill the same recipe with method {kind: baseline} and without its teacher; "
            "the student then needs init or from, and the data text or a corpus",
        )


def _differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """Return in what a recipe is not that of the baseline, as words."""
    differ = [] if theirs.method.kind == "baseline" else [f"method.kind ({theirs.method.kind})"]
    for part, left_out in (("data", ()), ("student", ("tokenizer",)), ("train", _PACE)):
        mine, other = (_flat(recipe.as_json()[part]) for recipe in (ours, theirs))
        differ += [
            f"{part}.{key}"
            for key in sorted({*mine, *other})
            if mine.get(key) != other.get(key) and key.rpartition(".")[2] not in left_out
        ]
    return differ


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key; a mapping that is absent has no keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{key}."))
        elif value is not None:
            found[prefix + key] = value
    return found


def _same_tokens(lineage: dict[str, Any], subjects: Subjects) -> bool:
    from auditor.models.vocabulary import vocabulary_of

    ours = vocabulary_of(subjects.student_tokenizer).digest
    return bool(lineage["student"]["tokenizer_digest"] == ours)


def _scores(
    recipe: Recipe, sources: Sources, subjects: Subjects, baseline: Path, student: Scores
) -> Scores:
    """Return the scores of the baseline's student on the held-out part of the run."""
    from auditor.distill.ranks import rank_device
    from auditor.distill.training import frozen
    from auditor.models.loading import load_transformers
    from auditor.models.unembedding import head_of

    loaded = load_transformers(f"local:{_intact(baseline)}", device=rank_device(), dtype="float32")
    store = _held_out(recipe, sources, loaded.tokenizer)
    if store is None or store.targets.tolist() != student.targets.tolist():
        raise CaseError("the held-out part is not the one that the run was measured on")
    teacher = None
    if recipe.method.reads_teacher and subjects.shares_tokens:
        opened = load_transformers(recipe.subject(recipe.teacher or ""), device=rank_device())
        teacher = frozen(opened, subjects.vocabulary)
    holdout = Holdout(
        store,
        form=head_of(loaded.module, subjects.vocabulary),
        teacher=teacher,
        batch_tokens=recipe.train.batch_tokens,
    )
    return student_scores(holdout, loaded.module)


def _held_out(
    recipe: Recipe, sources: Sources, tokenizer: "PreTrainedTokenizerFast"
) -> Sequences | None:
    split = split_holdout(sources.documents.digests, recipe.data.holdout)
    held = held_documents(recipe.data, sources, split.holdout, tokenizer)
    return held.sequences()[0]


def _intact(baseline: Path) -> Path:
    """Return the folder of a run's student, which is the one that its lineage names.

    Raises:
        CaseError: it was changed.
    """
    from auditor.models.specifier import identify

    folder = RunFolder(baseline)
    named = read_lineage(folder)["student"]["digest"]
    if identify(f"local:{folder.student}").digest != named:
        raise CaseError(
            f"{folder.student} is not the student that {folder.lineage} names",
            hint="restore it, or distill the baseline again",
        )
    return folder.student
