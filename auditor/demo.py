"""The demonstration: distill a student live, then audit it and three others of known truth.

The reference and 20 control families are tiny models that ship with the package. The suspects: the
student (imitation); a fine-tuned copy of the reference whose neurons were put in another order
(replication); an independent model; and a student of a sibling of the reference, whose outputs are
closer to the reference's than any control's, although it never saw them.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.case import Case, atomic_write, open_case
from auditor.models.tiny import pack_folder
from auditor.plan import AuditRequest, ControlSpec
from auditor.progress import Progress
from auditor.types import Decoding

PACK = "zoo"
REFERENCE = f"tiny:{PACK}/reference-00"
INDEPENDENT = f"tiny:{PACK}/same-data-03"
SIBLINGS_STUDENT = f"tiny:{PACK}/sibling-logits-02"
_STUDENT = f"""\
# Written by `auditor demo`: a student with random weights, trained on the reference's logits.
teacher: {REFERENCE}
student:
  init:
    {{architecture: llama, hidden: 48, layers: 2, heads: 4, ffn: 128, max_length: 320, tie: false}}
data:
  corpus: {{name: stories, seed: 77, documents: 3000}}
  holdout: 0.02
  holdout_tokens: 4096
  max_length: 160
method: {{kind: logits, divergence: forward-kl}}
train: {{steps: 420, batch_tokens: 800, lr: 8.0e-3, save_every: 210, eval_every: 210, seed: 1}}
permission: permission.json
"""
_TUNED = f"""\
# Written by `auditor demo`: the reference, trained further on other text.
student: {{from: "{REFERENCE}"}}
data:
  corpus: {{name: stories, seed: 78, documents: 1000}}
  holdout: 0.02
  holdout_tokens: 4096
  max_length: 160
method: {{kind: baseline}}
train: {{steps: 40, batch_tokens: 800, lr: 2.0e-3, save_every: 40, eval_every: 40, seed: 2}}
"""
_SUITES = ("instructions", "continuations", "reasoning", "ood")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What the demonstration made."""

    run: Path
    """Of the student."""
    lineage: dict[str, Any]
    case: Case
    sealed: Path
    """The case, closed and signed."""
    public_key: Path
    """Of the key that signed it."""


def demonstrate(out: Path, progress: Progress) -> Demonstration:
    """Make everything under `out`; a repeated call continues or returns what is there.

    Raises:
        CaseError: `out` holds something else.
    """
    from auditor.audit import audit

    _claim(out)
    run = out / "distilled"
    lineage = _distill(out, _STUDENT, run, progress)
    _distill(out, _TUNED, out / "tuned", progress)
    replica = _in_another_order(out / "tuned" / "student", out / "replica")
    case = audit(_request(run / "student", replica), out / "case", progress)
    sealed, public_key = _sealed(case, out)
    return Demonstration(run=run, lineage=lineage, case=case, sealed=sealed, public_key=public_key)


def _sealed(case: Case, out: Path) -> tuple[Path, Path]:
    """Seal the case with a key made for it; return the sealed case and the public key."""
    from auditor.bundle.keys import load_private_key, new_key
    from auditor.sealing import Signing, seal_case

    target = out / "case.evidence"
    private, public = (out / f"demonstration.{kind}.pem" for kind in ("key", "pub"))
    if not (target / "signatures" / "examiner.opinion.sigstore.json").is_file():
        for left in (private, public):
            left.unlink(missing_ok=True)  # of a demonstration that was cut off here
        if target.exists():
            shutil.rmtree(target)
        new_key(out, "demonstration")
        seal_case(case, target, Signing(key=load_private_key(private)))
    return target, public


def _claim(out: Path) -> None:
    # The folder gets a plan of its own, so that no other folder is ever written into.
    plan = {"schema": "auditor/demo/2", "recipes": [_STUDENT, _TUNED]}
    marker = open_case(out / "about", plan)
    marker.work.mkdir(exist_ok=True)


def _distill(out: Path, content: str, run: Path, progress: Progress) -> dict[str, Any]:
    from auditor.distill.recipe import load_recipe
    from auditor.distill.run import distill
    from auditor.report.distillation import write_run_report

    recipe = out / f"{run.name}.yaml"
    if not recipe.is_file():
        for name in ("permission.json", "LICENSE"):
            atomic_write(out / name, (pack_folder(PACK) / name).read_bytes())
        atomic_write(recipe, content.encode())
    lineage = distill(load_recipe(recipe), run, progress=progress)
    write_run_report(run)
    return lineage


def _in_another_order(source: Path, folder: Path) -> Path:
    from auditor.controls.transforms import permute

    if (folder / "model.safetensors").is_file():
        return folder
    return permute(f"local:{source}", folder, parts="neurons", seed=5)


def _request(student: Path, replica: Path) -> AuditRequest:
    return AuditRequest(
        command="demo",
        reference=REFERENCE,
        suspects=(str(student), str(replica), INDEPENDENT, SIBLINGS_STUDENT),
        controls=(ControlSpec(spec=f"pack:{PACK}"),),
        suites=_SUITES,
        probes=48,
        decoding=Decoding(max_new_tokens=64),
        encoder=None,
    )
