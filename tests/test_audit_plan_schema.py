"""The published JSON Schema of a plan says what the package accepts."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from auditor.data import data_dir
from auditor.errors import PlanError
from auditor.judge.findings import RULES
from auditor.plan_file import plan_from, plan_schema

REPORTS = data_dir("reports")
PUBLISHED = json.loads((REPORTS / "schema" / "audit-plan-1.json").read_bytes())
TEMPLATE = yaml.safe_load((REPORTS / "templates" / "audit-plan.yaml").read_text())


def test_the_published_schema_is_that_of_the_models():
    # A difference is a new version of the format, or a schema that was not written again:
    # json.dumps(plan_schema(), indent=2, ensure_ascii=False) + newline.
    assert plan_schema() == PUBLISHED


def test_the_template_follows_the_schema_and_names_the_rules_of_this_release():
    Draft202012Validator(PUBLISHED).validate(TEMPLATE)
    assert TEMPLATE["decision"] == RULES
    assert plan_from(TEMPLATE).as_json()["title"] == TEMPLATE["title"]


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema": "auditor/audit-plan/2"},
        {"suspects": []},
        {"probes": 0},
        {"seed": 2**53},
        {"access": "EVERYTHING"},
        {"stopping": "when it is significant"},
        {"sampling": {"temperature": -1}},
        {"population": {"description": "x", "families": {"suspect": 1}}},
        {"hypotheses": [{"name": "guilty", "statement": "x"}]},
    ],
    ids=str,
)
def test_schema_and_package_refuse_the_same(change):
    values = {**TEMPLATE, **change}
    with pytest.raises(ValidationError):
        Draft202012Validator(PUBLISHED).validate(values)
    with pytest.raises(PlanError):
        plan_from(values)
