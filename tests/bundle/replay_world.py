"""A real case of tiny models with every kind of control, and the shipped replay.py as a module."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

from auditor.audit import audit
from auditor.case import Case
from auditor.data import data_dir
from auditor.plan import AuditRequest, ControlSpec
from auditor.types import Access, Decoding

FILE = data_dir("reports") / "replay" / "replay.py"
CONTROLS = (
    *("same-data-00", "same-data-01", "same-data-02"),
    *("other-stories-01", "gpt2-00", "bytes-02"),
)
REQUEST = AuditRequest(
    command="scan",
    reference="tiny:zoo/reference-00",
    suspects=("tiny:zoo/sibling-logits-02", "tiny:zoo/same-data-03"),
    controls=tuple(ControlSpec(spec=f"tiny:zoo/{name}") for name in CONTROLS),
    suites=("instructions", "reasoning", "ood"),
    access=Access.WEIGHTS,
    probes=24,
    repeats=1,
    decoding=Decoding(max_new_tokens=8),
    encoder=None,
)


def replay_module() -> ModuleType:
    """Return replay.py, loaded from its file."""
    spec = importlib.util.spec_from_file_location("replay", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny_case(root: Path) -> Case:
    """Return a finished case: a student, an independent model, six controls."""
    return audit(REQUEST, root)


def edited(case: Case, name: str, change) -> None:
    """Rewrite a JSON file of a case after `change` was applied to its content."""
    content = case.read_json(name)
    change(content)
    (case.data / name).write_text(json.dumps(content))
