import json
from pathlib import Path

import pytest
from distill_world import changed
from test_recipe_keys import BASELINE

from auditor.collect.suite import load_suite
from auditor.distill.documents import read_sources
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.row_policy import RowFlags, RowPolicy, apply_policy, flag_counts, row_flags
from auditor.errors import RecipeError

ROWS = [
    RowFlags(licence="CC0-1.0", consent=True, personal_data=False),
    RowFlags(licence="GPL-3.0", consent=True, personal_data=False),
    RowFlags(licence="mit", consent=False, personal_data=False),
    RowFlags(licence="MIT", consent=True, personal_data=True),
    RowFlags(),
]


def reasons(**keys: object) -> list[dict[str, int]]:
    policy = RowPolicy.model_validate({"on_violation": "drop", **keys})
    digests = [f"d{index}" for index in range(len(ROWS))]
    return [r["reasons"] for r in apply_policy(policy, "documents", ROWS, digests).records]


def text_recipe(folder: Path, rows: list[dict[str, object]], **data: object) -> Recipe:
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "t.jsonl").write_text(content)
    return recipe_from(changed(BASELINE, "data", text="t.jsonl", **data), folder)


def test_licences_are_compared_without_case_and_a_missing_one_is_a_violation():
    found = reasons(licences=["CC0-1.0", "MIT"])
    assert found == [{"licence GPL-3.0": 1, "licence unknown": 1}]
    assert reasons(licences=["CC0-1.0", "MIT"], unknown="accepted") == [{"licence GPL-3.0": 1}]


def test_consent_and_personal_data_are_asked_for_only_where_the_policy_says_so():
    assert reasons() == [{}]
    assert reasons(consent="required") == [{"consent false": 1, "consent unknown": 1}]
    assert reasons(personal_data="excluded") == [
        {"personal data true": 1, "personal data unknown": 1}
    ]
    assert reasons(consent="required", unknown="accepted") == [{"consent false": 1}]
    assert reasons(personal_data="excluded", unknown="accepted") == [{"personal data true": 1}]


def test_row_that_breaks_several_rules_is_counted_once():
    found = reasons(licences=["CC0-1.0"], consent="required", personal_data="excluded")
    assert found == [
        {"licence GPL-3.0": 1, "licence MIT": 1, "licence mit": 1, "licence unknown": 1}
    ]


def test_record_says_what_was_dropped():
    policy = RowPolicy(licences=["MIT"], on_violation="drop")
    found = apply_policy(policy, "prompts", ROWS, ["e", "d", "c", "b", "a"])
    assert found.kept.tolist() == [2, 3]
    (record,) = found.records
    assert (record["name"], record["version"], record["of"]) == ("policy", 1, "prompts")
    assert (record["kept"], record["dropped"]) == (2, 3)
    assert record["dropped_digests"] == ["a", "d", "e"]
    assert record["params"]["licences"] == ["MIT"]


def test_violation_refuses_the_run_by_default_and_says_how_many():
    with pytest.raises(RecipeError) as caught:
        apply_policy(RowPolicy(licences=["MIT"]), "documents", ROWS, list("abcde"))
    assert caught.value.message == (
        "data.policy: 3 of 5 documents break it "
        "(licence CC0-1.0: 1, licence GPL-3.0: 1, licence unknown: 1)"
    )
    assert "on_violation: drop" in str(caught.value.hint)


def test_dropping_every_row_is_refused():
    policy = RowPolicy(licences=["Zlib"], on_violation="drop")
    with pytest.raises(RecipeError, match="5 of 5 documents"):
        apply_policy(policy, "documents", ROWS, list("abcde"))


def test_text_of_a_seeded_rule_is_exempt_and_not_counted():
    policy = RowPolicy(licences=["MIT"], consent="required")
    assert apply_policy(policy, "documents", [None], ["a"]).kept.tolist() == [0]
    assert flag_counts([None])["licences"] == {}


def test_flags_are_counted_by_value():
    assert flag_counts([*ROWS, RowFlags(source="a"), RowFlags(source="a")]) == {
        "licences": {"CC0-1.0": 1, "GPL-3.0": 1, "MIT": 1, "mit": 1, "unknown": 3},
        "consent": {"false": 1, "true": 3, "unknown": 3},
        "personal_data": {"false": 3, "true": 1, "unknown": 3},
        "sources": 1,
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"licence": 3}, "licence is not text: 3"),
        ({"licence": ""}, "licence is not text: ''"),
        ({"consent": "yes"}, "consent is not true or false: 'yes'"),
        ({"personal_data": 0}, "personal_data is not true or false: 0"),
        ({"source": ["a"]}, "source is not text"),
    ],
)
def test_flags_of_the_wrong_kind_are_refused_with_their_line(row, words):
    with pytest.raises(RecipeError) as caught:
        row_flags(row, "t.jsonl, line 2")
    assert caught.value.message.startswith(f"t.jsonl, line 2: {words}")
    assert row_flags({"licence": None, "consent": None}, "") == RowFlags()


def test_flags_of_text_rows_reach_the_policy_and_the_record(tmp_path: Path):
    rows: list[dict[str, object]] = [
        {"text": "one wall", "licence": "MIT", "source": "a"},
        {"text": "two walls", "licence": "GPL-3.0"},
        {"text": "three walls"},
    ]
    policy = {"licences": ["MIT"], "on_violation": "drop"}
    sources = read_sources(text_recipe(tmp_path, rows, policy=policy))
    assert list(sources.documents) == ["one wall"]
    assert sources.filters[0]["reasons"] == {"licence GPL-3.0": 1, "licence unknown": 1}
    assert sources.flags["documents"]["licences"] == {"MIT": 1}
    assert sources.flags["documents"]["sources"] == 1
    without = read_sources(text_recipe(tmp_path, rows))
    assert len(without.documents) == 3
    assert without.filters == ()
    assert without.flags["documents"]["licences"] == {"GPL-3.0": 1, "MIT": 1, "unknown": 1}


def test_prompts_have_the_flags_of_their_row_or_the_licence_of_their_suite(tmp_path: Path):
    rows = [
        {"prompt": "one?", "licence": "MIT"},
        {"prompt": "two?", "licence": "GPL-3.0"},
        {"prompt": "one?", "licence": "MIT"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = load_suite("reasoning@1")
    values = {
        **BASELINE,
        "teacher": "smollm2",
        "method": {"kind": "sequence"},
        "data": {
            "prompts": ["p.jsonl", "suite:reasoning@1"],
            "policy": {"licences": ["MIT", suite.licence], "on_violation": "drop"},
        },
    }
    sources = read_sources(recipe_from(values, tmp_path))
    assert [probe.messages[0].content for probe in sources.prompts[:1]] == ["one?"]
    assert sources.repeated == 1
    assert len(sources.prompts) == 1 + len(suite.probes)
    assert sources.filters[0]["of"] == "prompts"
    assert sources.filters[0]["reasons"] == {"licence GPL-3.0": 1}
    assert sources.flags["prompts"]["licences"] == {"MIT": 1, suite.licence: len(suite.probes)}
    assert sources.flags["prompts"]["sources"] == 1


def test_plain_text_has_no_flags_and_breaks_a_policy_that_asks(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    values = changed(BASELINE, "data", policy={"consent": "required"})
    with pytest.raises(RecipeError, match=r"2 of 2 documents .*consent unknown: 2"):
        read_sources(recipe_from(values, tmp_path))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"licence": ["MIT"]}, "unknown key data.policy.licence"),
        ({"licences": []}, "data.policy.licences"),
        ({"consent": True}, "data.policy.consent"),
        ({"on_violation": "ask"}, "data.policy.on_violation"),
    ],
)
def test_wrong_policies_are_refused(policy, words):
    with pytest.raises(RecipeError) as caught:
        recipe_from(changed(BASELINE, "data", policy=policy))
    assert caught.value.message.startswith(words)
