"""`--control pack:DIR` stands for the controls that a folder's controls.json lists."""

import json
import shutil

import pytest

from auditor.data import data_dir
from auditor.errors import InputError
from auditor.models.tiny import pack_controls
from auditor.plan import AuditRequest, ControlSpec, plan_audit

TINY = data_dir("probes") / "packs" / "tiny"


def pack(folder, *rows):
    (folder / "controls.json").write_text(json.dumps({"controls": rows}))
    return folder


def test_a_folder_of_controls_is_planned_with_its_roles_and_families(tmp_path):
    shutil.copytree(TINY / "sibling", tmp_path / "runs" / "a" / "student")
    shutil.copytree(TINY / "independent", tmp_path / "models" / "b")
    pack(
        tmp_path,
        {"name": "a", "role": "imitation", "family": "students", "path": "runs/a/student"},
        {"name": "b", "role": "independent", "family": "b"},
    )
    request = AuditRequest(
        command="compare",
        reference="tiny:teacher",
        suspects=("tiny:zoo/same-data-00",),
        controls=(ControlSpec(spec=f"pack:{tmp_path}"),),
        probes=4,
    )
    found = [(s["spec"], s["role"], s["family"]) for s in plan_audit(request)["subjects"][2:]]
    assert found == [
        (f"local:{tmp_path.resolve()}/runs/a/student", "imitation", "students"),
        (f"local:{tmp_path.resolve()}/models/b", "independent", "b"),
    ]


def test_a_folder_called_like_a_shipped_pack_does_not_replace_it(tmp_path, monkeypatch):
    (tmp_path / "zoo").mkdir()
    pack(tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    assert len(pack_controls("zoo")) > 0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "a", "role": "suspect", "family": "a"}, "unknown role 'suspect'"),
        ({"name": "a", "role": "sibling"}, "lists no controls: KeyError"),
    ],
)
def test_a_malformed_list_is_refused(tmp_path, row, words):
    pack(tmp_path, row)
    with pytest.raises(InputError, match=words):
        pack_controls(str(tmp_path))
