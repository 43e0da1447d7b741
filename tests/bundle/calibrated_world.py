"""A real case inside the population of the shipped pack: it states likelihood ratios."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from auditor.audit import audit
from auditor.case import Case
from auditor.data import data_dir
from auditor.plan import AuditRequest, ControlSpec
from auditor.types import Access, Decoding

SUITES = ("instructions", "continuations", "reasoning", "ood")


def replica_of(model: Path, folder: Path) -> Path:
    """Write a copy of a model whose weights are each off by about 1 %."""
    shutil.copytree(model, folder)
    path, noise = folder / "model.safetensors", np.random.RandomState(0)
    weights = {
        name: (one.astype(np.float32) * (1 + 0.01 * noise.standard_normal(one.shape))).astype(
            one.dtype
        )
        for name, one in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def calibrated_case(folder: Path) -> Case:
    """Return a case of a replica and of an independent model beside all controls of the pack."""
    models = data_dir("probes") / "packs" / "zoo" / "models"
    replica = replica_of(models / "reference-00", folder / "replica")
    request = AuditRequest(
        command="scan",
        reference="tiny:zoo/reference-00",
        suspects=(f"local:{replica}", "tiny:zoo/same-data-03"),
        controls=(ControlSpec(spec="pack:zoo"),),
        suites=SUITES,
        access=Access.LOGITS,
        probes=8,
        decoding=Decoding(max_new_tokens=12),
        encoder=None,
    )
    return audit(request, folder / "case")
