"""The folder of a run: what goes where, whose run it is, and whether it is finished.

student/          transformers format, tokenizer included
lineage.json      what was done; written last, so it marks a finished run
metrics.jsonl     a row a step, and the evaluations
fidelity.json     held-out scores beside null students, by category and by sequence
transcript.jsonl  texts of the training data in the order in which they were last seen
recipe.yaml       as used, every default filled in
marks.key         secret of the run's marks; marks-reveal.json shows it to an audit
rollouts.jsonl    the student's own answers, of on-policy training
generations.jsonl the teacher's answers, where prompts were answered
exchanges.jsonl   every attempt to ask a teacher behind a server, as it went
embeddings.jsonl  the teacher's embeddings of the texts, of method embedding
ledger.jsonl      append-only record of the run: see `auditor.distill.ledger`
samples.txt       digests of the texts offered for training, sorted
sequences.jsonl   digest and size of each training sequence
inputs.json       digests of what went in: a run is continued with the same inputs only
checkpoints/      of an unfinished run; removed when it is finished
work/             the lock, and packed tokens: see `auditor.distill.packed`; scratch

Added to a finished run, so that its lineage cannot list them: `ADDED`.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.canon import json_digest, pretty_json
from auditor.case import atomic_write, storage_errors
from auditor.distill.recipe import Recipe
from auditor.errors import CaseError, StorageError

SCHEMA = "auditor/run-inputs/1"
ADDED = (
    "report.html",
    "baseline.json",
    "cost.json",
    "measured-lineage.json",
    "inherited-errors.json",
)
"""The report, the comparison with a baseline run, what the run cost, what an audit of it found, and
the teacher's wrong answers that the student repeats."""
AUDIT = "audit/"
"""Folder of the case of that audit, and of the answers to questions with a known answer."""
# torch and safetensors lose the error number of a refused write; these are their texts.
_REFUSED = (
    "No space left",
    "File too large",
    "Disk quota",
    "PytorchStreamWriter failed",
    "unexpected pos",
)


class RunFolder:
    """Paths of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.student = root / "student"
        self.lineage = root / "lineage.json"
        self.metrics = root / "metrics.jsonl"
        self.fidelity = root / "fidelity.json"
        self.transcript = root / "transcript.jsonl"
        self.recipe = root / "recipe.yaml"
        self.marks_key = root / "marks.key"
        self.marks_reveal = root / "marks-reveal.json"
        self.rollouts = root / "rollouts.jsonl"
        self.generations = root / "generations.jsonl"
        self.exchanges = root / "exchanges.jsonl"
        self.embeddings = root / "embeddings.jsonl"
        self.ledger = root / "ledger.jsonl"
        self.samples = root / "samples.txt"
        self.sequences = root / "sequences.jsonl"
        self.inputs = root / "inputs.json"
        self.checkpoints = root / "checkpoints"
        self.untouched = self.checkpoints / "untouched.json"
        self.baseline = root / "baseline.json"
        self.cost = root / "cost.json"
        self.measured_lineage = root / "measured-lineage.json"
        self.inherited_errors = root / "inherited-errors.json"
        self.packed = root / "work" / "sequences"

    def finished(self, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """Return the lineage of a finished run with these inputs; None where it is not finished.

        Only the keys of `inputs` are compared, so that a finished run is recognised without
        reading a teacher.

        Raises:
            CaseError: the folder holds another run, or something else.
        """
        self.check(inputs, only=tuple(inputs))
        return read_lineage(self) if self.lineage.is_file() else None

    def check(self, inputs: dict[str, Any], *, only: tuple[str, ...] | None = None) -> bool:
        """Say whether the folder holds a run with these inputs; False where it is empty.

        Raises:
            CaseError: it holds another run, or something else.
        """
        if not self.inputs.is_file():
            if self.root.exists() and (not self.root.is_dir() or _has_content(self.root)):
                raise CaseError(
                    f"{self.root} exists and is not the folder of a run",
                    hint="give an empty or a new --out",
                )
            return False
        found = _json(self.inputs)
        keys = only if only is not None else tuple(sorted({*found, *inputs} - {"schema"}))
        differ = [
            key for key in keys if json_digest(found.get(key)) != json_digest(inputs.get(key))
        ]
        if differ:
            raise CaseError(
                f"{self.root} holds another run (it differs in: {', '.join(differ)})",
                hint="give another --out, or repeat the recipe and data that started it",
            )
        return True

    def start(self, recipe: Recipe, inputs: dict[str, Any], *, resume: bool) -> None:
        """Create the run, or continue the one that is there.

        Raises:
            CaseError: it holds another run, or an unfinished one and `resume` is False.
            StorageError: it cannot be written.
        """
        if self.check(inputs) and not resume:
            raise CaseError(
                f"{self.root} holds this run, unfinished", hint="continue it with --resume"
            )
        # inputs.json first: a folder without it is taken for somebody else's.
        atomic_write(self.inputs, pretty_json({"schema": SCHEMA, **inputs}))
        atomic_write(self.recipe, recipe_yaml(recipe))


def read_lineage(folder: RunFolder) -> dict[str, Any]:
    """Return the lineage of a finished run.

    Raises:
        CaseError: it is missing or not JSON.
    """
    return _json(folder.lineage)


def recipe_yaml(recipe: Recipe) -> bytes:
    """Return a recipe as YAML with every default filled in; absent keys are left out."""
    import yaml

    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


@contextlib.contextmanager
def refused_writes(path: Path) -> Iterator[None]:
    """Turn a full disk, as torch and safetensors report it, into a StorageError."""
    try:
        with storage_errors(path):
            yield
    except Exception as error:
        if isinstance(error, StorageError) or not any(text in str(error) for text in _REFUSED):
            raise
        raise StorageError(
            f"the disk refused a write in {path}: {str(error).splitlines()[0][:200]}",
            hint="free some space (or choose another --out) and repeat the command: the last "
            "complete checkpoint is kept",
        ) from error


def _has_content(root: Path) -> bool:
    # A kill inside the very first write leaves its unfinished file and the lock.
    return any(path.name not in ("inputs.json.part", "work") for path in root.iterdir())


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CaseError(f"{path} cannot be read: {error}", hint="give a new --out") from error
    return value
