"""What a lineage says about the data of a run, beside its sources."""

from typing import TYPE_CHECKING, Any

from auditor.canon import file_digest
from auditor.distill.run_folder import RunFolder

if TYPE_CHECKING:
    from auditor.distill.data import TrainingData
    from auditor.distill.marking import MarkedRun
    from auditor.distill.training import Pupil


def data_record(
    folder: RunFolder, data: "TrainingData", pupil: "Pupil", marked: "MarkedRun | None"
) -> dict[str, Any]:
    """Return the data, the teacher's answers, the cache, the alignment and the marks."""
    record = {**data.record, "generations": _generations(folder)}
    if pupil.captured is not None:
        record["cache"] = pupil.captured.record
    if pupil.aligned is not None:
        record["alignment"] = pupil.aligned.record
    if marked is not None:
        record["marks"] = marked.record()
    return record


def _generations(folder: RunFolder) -> dict[str, Any] | None:
    if not folder.generations.is_file():
        return None
    with folder.generations.open("rb") as stream:
        lines = sum(1 for _ in stream)
    return {"answers": lines, "digest": file_digest(folder.generations)}
