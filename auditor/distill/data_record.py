"""The part `data` of a lineage: what a student was trained on, and where it came from."""

from typing import TYPE_CHECKING, Any

from auditor.canon import file_digest
from auditor.distill.run_folder import RunFolder
from auditor.distill.served_lesson import exchanges_record

if TYPE_CHECKING:
    from auditor.distill.data import TrainingData
    from auditor.distill.marking import MarkedRun
    from auditor.distill.served_lesson import Lesson
    from auditor.distill.training import Pupil


def data_record(
    folder: RunFolder,
    data: "TrainingData",
    pupil: "Pupil",
    marked: "MarkedRun | None",
    served: "Lesson | None",
) -> dict[str, Any]:
    """Return what a lineage says about the data; parts that a run does not have are left out."""
    parts = {
        "cache": None if pupil.captured is None else pupil.captured.record,
        "alignment": None if pupil.aligned is None else pupil.aligned.record,
        "marks": None if marked is None else marked.record(),
        "exchanges": exchanges_record(folder.exchanges),
        "log_probabilities": None if served is None else served.record,
    }
    given = {name: part for name, part in parts.items() if part is not None}
    return {**data.record, "generations": _generations_record(folder), **given}


def _generations_record(folder: RunFolder) -> dict[str, Any] | None:
    if not folder.generations.is_file():
        return None
    with folder.generations.open("rb") as stream:
        lines = sum(1 for _ in stream)
    return {"answers": lines, "digest": file_digest(folder.generations)}
