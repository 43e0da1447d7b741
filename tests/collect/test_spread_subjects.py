"""A subject whose modules are spread over memory and the disk is collected as it is otherwise."""

import json

import jsonschema
import numpy as np
import pytest
from collect_world import collected, plan_of

from auditor.data import data_dir


@pytest.fixture
def spread(tmp_path):
    """Return the specifier of a folder of which a layer and the head lie on the disk."""
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"model.layers.1": "disk", "lm_head": "disk", "": "cpu"}))
    return lambda folder: f"local:{folder}?device_map={path}"


def arrays(case):
    return {
        path.relative_to(case.data).as_posix(): np.load(path)
        for path in sorted(case.data.glob("arrays/*/*.npy"))
    }


def test_a_case_of_spread_models_holds_the_same_numbers(models, spread, tmp_path):
    named = {"reference": models.reference, "other": models.other}
    plain = collected(tmp_path / "plain", plan_of(named, probes=4))
    placed = {name: spread(folder) for name, folder in named.items()}
    case = collected(tmp_path / "spread", plan_of(placed, probes=4))
    ours, theirs = arrays(plain), arrays(case)
    assert {"arrays/agreement/other.npy", "arrays/neurons/other.npy"} <= ours.keys()
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.tobytes() == theirs[name].tobytes(), name


def test_the_record_of_a_subject_says_where_it_lay(models, spread, tmp_path):
    named = {"reference": spread(models.reference), "other": models.other}
    case = collected(tmp_path / "case", plan_of(named, probes=2))
    content = case.read_json("subjects.json")
    schema = json.loads((data_dir("reports") / "schema" / "subjects-1.json").read_bytes())
    jsonschema.validate(content, schema)
    reference, other = content["subjects"]
    assert reference["placement"]["model.layers.0"] == "cpu"
    assert reference["placement"]["model.layers.1"] == "disk"
    assert reference["ref"]["spec"] == spread(models.reference)
    assert "placement" not in other
