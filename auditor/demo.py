"""The demonstration: distill a student live, then compare it and two others with its teacher.

Three suspects of known truth (a student, an 8-bit copy, an independent model) and one control (a
sibling of the teacher), all tiny byte-level models that ship with the package.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.case import Case, atomic_write, open_case
from auditor.data import data_dir
from auditor.plan import AuditRequest, ControlSpec
from auditor.progress import Progress
from auditor.types import Decoding

TEACHER = "tiny:teacher"
_RECIPE = """\
# Written by `auditor demo`: a student of half the teacher's layers, trained on its logits.
teacher: tiny:teacher
student: {shrink: {layers: 2}}
data:
  corpus: {name: stories, seed: 11, documents: 2000}
  holdout: 0.02
  holdout_tokens: 4096
  max_length: 256
method: {kind: logits, divergence: forward-kl}
train: {steps: 120, batch_tokens: 2048, lr: 3.0e-3, save_every: 60, eval_every: 30, seed: 1}
permission: permission.json
"""
_SUITES = ("instructions", "continuations", "reasoning", "ood")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What the demonstration made."""

    run: Path
    lineage: dict[str, Any]
    case: Case


def demonstrate(out: Path, progress: Progress) -> Demonstration:
    """Make everything under `out`; a repeated call continues or returns what is there.

    Raises:
        CaseError: `out` holds something else.
    """
    from auditor.audit import audit

    _claim(out)
    run = out / "distilled"
    lineage = _distill(out, run, progress)
    copy = _eight_bit_copy(out / "copy-8bit")
    case = audit(_request(run / "student", copy), out / "case", progress)
    return Demonstration(run=run, lineage=lineage, case=case)


def _claim(out: Path) -> None:
    # The folder gets a plan of its own, so that no other folder is ever written into.
    marker = open_case(out / "about", {"schema": "auditor/demo/1", "recipe": _RECIPE})
    marker.work.mkdir(exist_ok=True)


def _distill(out: Path, run: Path, progress: Progress) -> dict[str, Any]:
    from auditor.distill.recipe import load_recipe
    from auditor.distill.run import distill
    from auditor.report.distillation import write_run_report

    recipe = out / "recipe.yaml"
    if not recipe.is_file():
        pack = data_dir("probes") / "packs" / "tiny"
        for name in ("permission.json", "LICENSE"):
            atomic_write(out / name, (pack / name).read_bytes())
        atomic_write(recipe, _RECIPE.encode())
    lineage = distill(load_recipe(recipe), run, progress=progress)
    write_run_report(run)
    return lineage


def _eight_bit_copy(folder: Path) -> Path:
    from auditor.controls.transforms import quantise

    return folder if (folder / "model.safetensors").is_file() else quantise(TEACHER, folder)


def _request(student: Path, copy: Path) -> AuditRequest:
    return AuditRequest(
        command="demo",
        reference=TEACHER,
        suspects=(str(student), str(copy), "tiny:independent"),
        controls=(ControlSpec(spec="tiny:sibling"),),
        suites=_SUITES,
        probes=64,
        decoding=Decoding(max_new_tokens=64),
    )
