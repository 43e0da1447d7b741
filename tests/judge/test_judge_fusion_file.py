import copy
import json
import math

import numpy as np
import pytest
from fusion_world import score_rows
from jsonschema import Draft202012Validator

from auditor.data import data_dir
from auditor.errors import InputError
from auditor.judge.bootstrap import Draws
from auditor.judge.fuse import FusionRecipe, fuse
from auditor.judge.fusion_file import check_refit, fusion_from_json, fusion_json
from auditor.judge.fusion_fit import fit_fusion

SCORES = {"replication": 2.0, "span": 4.0, "sample": 3.0}
RECIPE = FusionRecipe(draws=Draws(seed=7, resamples=8))


@pytest.fixture(scope="module")
def fusion():
    return fit_fusion(score_rows(), RECIPE).fusion


@pytest.fixture
def content(fusion):
    return json.loads(json.dumps(fusion_json(fusion), allow_nan=False))


def test_what_is_read_back_gives_the_same_result_to_the_last_bit(fusion, content):
    assert fuse(fusion_from_json(content), SCORES) == fuse(fusion, SCORES)


def test_the_file_follows_its_schema(content):
    schema = json.loads((data_dir("reports") / "schema" / "fusion-1.json").read_bytes())
    Draft202012Validator(schema).validate(content)
    assert content["families"] == {"independent": 24, "imitation": 20, "replication": 20}


def test_a_stranger_recomputes_the_ratio_from_the_file_alone(fusion, content):
    # The formula of the file's description, in plain arithmetic.
    transforms = {"log1p": math.log1p, "asinh": math.asinh}
    x = [
        (transforms[f["transform"]](SCORES[f["name"]]) - f["mean"]) / f["scale"]
        for f in content["features"]
    ]

    def log10_lr(fit, first, second):
        eta = [
            a + sum(s * v for s, v in zip(row, x, strict=True))
            for a, row in zip(fit["intercepts"], fit["slopes"], strict=True)
        ]
        classes = content["classes"]
        return (eta[classes.index(first)] - eta[classes.index(second)]) / math.log(10)

    stated = fuse(fusion, SCORES).pairs["replication:imitation"]
    bounds = content["bounds"]["replication:imitation"]
    value = log10_lr(content["coefficients"], "replication", "imitation")
    assert stated.unbounded == pytest.approx(value, rel=1e-12)
    assert stated.log10_lr == pytest.approx(min(max(value, bounds["lower"]), bounds["upper"]))
    drawn = [log10_lr(fit, "replication", "imitation") for fit in content["replicates"]]
    tails = np.clip(np.percentile(drawn, [2.5, 97.5]), bounds["lower"], bounds["upper"])
    assert stated.interval == pytest.approx(tuple(tails))


def test_refitting_the_table_in_any_order_gives_the_file(content):
    assert check_refit(fusion_from_json(content), score_rows()[::-1]) is None


def test_another_table_is_not_the_one_fitted(content):
    with pytest.raises(InputError, match="not the one that the fusion was fitted to"):
        check_refit(fusion_from_json(content), score_rows(seed=1))


@pytest.mark.parametrize("where", ["coefficients", "replicates", "bounds"])
def test_an_edited_number_is_found_by_refitting(content, where):
    if where == "bounds":
        content["bounds"]["imitation:independent"]["upper"] += 0.5
    else:
        fit = content[where] if where == "coefficients" else content[where][3]
        fit["slopes"][1][2] += 1e-4
    with pytest.raises(InputError, match="refitting gives other"):
        check_refit(fusion_from_json(content), score_rows())


def without(*path):
    def edit(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return edit


def setting(value, *path):
    def edit(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        without("strength"),
        without("features", 0, "mean"),
        without("coefficients", "slopes", 0),
        without("families", "imitation"),
        setting("auditor/fusion/2", "schema"),
        setting("sqrt", "features", 0, "transform"),
        setting(0.0, "features", 0, "scale"),
        setting("much", "features", 0, "scale"),
        setting(math.nan, "coefficients", "intercepts", 0),
        setting([], "replicates"),
        setting(["independent", "imitation", "theft"], "classes"),
        setting(-0.1, "bounds", "imitation:independent", "upper"),
        setting(None, "features"),
    ],
)
def test_a_malformed_file_is_refused(content, edit):
    broken = copy.deepcopy(content)
    edit(broken)
    with pytest.raises(InputError, match="fusion"):
        fusion_from_json(broken)


@pytest.mark.parametrize("content", [None, [], {"schema": "auditor/plan/1"}])
def test_another_file_is_no_fusion(content):
    with pytest.raises(InputError, match="no fusion of schema auditor/fusion/1"):
        fusion_from_json(content)
