"""The student of a finished run as it was before training, made again from the run's recipe."""

from typing import TYPE_CHECKING, Any

from auditor.distill.finished_run import FinishedRun, unchanged
from auditor.distill.ranks import rank_device
from auditor.distill.student import build_student
from auditor.errors import CaseError, InputError
from auditor.types import Access, ModelRef

if TYPE_CHECKING:
    from auditor.models.base import Model


def untouched_model(finished: FinishedRun, teacher: str) -> "Model":
    """Return the model that a run's training began with; random weights follow from the seed.

    Args:
        finished: the run.
        teacher: where the teacher is; read for a student that was shrunk from it.

    Raises:
        CaseError: the model that it started from was changed.
        InputError: its student is a sentence encoder.
        SubjectError: a model cannot be read.
    """
    from auditor.models.loading import Loaded, load_tokenizer, load_transformers, torch_dtype
    from auditor.models.source import locate
    from auditor.models.specifier import open_model, parse
    from auditor.models.transformers_model import TransformersModel

    recipe = finished.recipe()
    if recipe.method.kind == "embedding":
        raise InputError(
            f"the student of {finished.folder.root} is a sentence encoder: it answers nothing",
            hint="its report says how close its embeddings are",
        )
    if recipe.student.from_ is not None:
        origin = finished.lineage["student"]["started_from"]
        if origin is None:
            raise CaseError(f"{finished.folder.lineage} does not say what the student started from")
        return open_model(unchanged(origin["spec"], origin["digest"]))
    source = locate(parse(f"local:{finished.folder.student}"))
    of_teacher = None
    if recipe.student.shrink is not None:
        of_teacher = load_transformers(teacher, device="cpu", dtype="float32")
    student = build_student(recipe, of_teacher, load_tokenizer(source))
    device = rank_device()
    module: Any = student.module
    module = module.to(device=device, dtype=torch_dtype(None, device)).eval()
    ref = ModelRef(spec="untouched", access=Access.WEIGHTS, parameters=module.num_parameters())
    return TransformersModel(Loaded(module=module, tokenizer=student.tokenizer, source=source), ref)
