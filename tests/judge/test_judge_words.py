import copy
import json
import math

import pytest
from jsonschema import Draft202012Validator

import auditor.judge.words as module
from auditor.data import data_dir
from auditor.errors import InputError, UndefinedError
from auditor.judge.bounds import Bounds
from auditor.judge.null import standing
from auditor.judge.words import (
    SCALES,
    Names,
    Weight,
    load_scale,
    rank_sentence,
    rounded_down,
    scale_from_json,
    sentence,
    transposed,
    verbal,
)

ENFSI = load_scale()
BOUNDS = Bounds(lower=-1.9, upper=1.9, families=(60, 80))


def weight(lr, low, high, pair="imitation:independent", bounds=BOUNDS):
    interval = (math.log10(low), math.log10(high))
    return Weight(pair=pair, log10_lr=math.log10(lr), interval=interval, bounds=bounds)


@pytest.mark.parametrize("name", SCALES)
def test_each_scale_is_a_versioned_file_with_its_citation(name):
    folder = data_dir("reports")
    content = json.loads((folder / "scales" / f"{name}.json").read_bytes())
    schema = json.loads((folder / "schema" / "verbal-scale-1.json").read_bytes())
    Draft202012Validator(schema).validate(content)
    scale = load_scale(name)
    assert scale.name == name
    assert scale.id == f"{name}@1"
    assert scale.citation


@pytest.mark.parametrize(
    ("lr", "words"),
    [
        (1, "no support for either"),
        (1.9, "no support for either"),
        (2, "weak support"),
        (10, "moderate support"),
        (99.9, "moderate support"),
        (100, "moderately strong support"),
        (1000, "strong support"),
        (10_000, "very strong support"),
        (1_000_000, "extremely strong support"),
    ],
)
def test_the_enfsi_categories(lr, words):
    # evidence.md 3.5.
    value = math.log10(lr)
    assert verbal(value, (value, value), ENFSI) == words
    assert verbal(-value, (-value, -value), ENFSI) == words


def test_the_nfi_scale_joins_100_to_10_000():
    nfi = load_scale("nfi")
    assert verbal(2.0, (2.0, 2.0), nfi) == verbal(3.9, (3.9, 3.9), nfi) == "much more probable"


def test_a_category_needs_the_nearer_limit_to_reach_it_too():
    assert verbal(1.5, (1.0, 3.0), ENFSI) == "moderate support"
    assert verbal(1.5, (0.9, 3.0), ENFSI) == "weak support"
    assert verbal(1.5, (-0.2, 3.0), ENFSI) == "no support for either"
    # On the other side the nearer limit is the upper one.
    assert verbal(-1.5, (-3.0, -1.0), ENFSI) == "moderate support"
    assert verbal(-1.5, (-3.0, -0.9), ENFSI) == "weak support"


def test_the_sentence_says_how_probable_the_findings_are():
    assert sentence(weight(30, 12, 70), ENFSI) == (
        "The findings are about 30 times more probable if S imitated T than if S was independent "
        "of T: moderate support."
    )


def test_a_ratio_under_one_is_said_for_the_other_proposition():
    names = Names(suspect="Alpha", reference="Beta")
    assert sentence(weight(1 / 25, 1 / 60, 1 / 11), ENFSI, names) == (
        "The findings are about 25 times more probable if Alpha was independent of Beta than if "
        "Alpha imitated Beta: moderate support."
    )


def test_a_replica_is_named_by_its_weights():
    found = sentence(weight(5, 3, 8, "replication:imitation"), ENFSI)
    assert "if S's weights derive from T's than if S imitated T" in found


def test_a_lower_category_says_why():
    assert sentence(weight(30, 4, 70), ENFSI).endswith(
        "weak support, because the 95 % interval reaches down to about 4."
    )


def test_findings_that_help_nobody_name_no_number():
    assert sentence(weight(30, 0.5, 70), ENFSI) == (
        "The findings do not help to decide whether S imitated T or S was independent of T: "
        "no support for either."
    )


def test_the_number_is_never_above_what_the_families_support():
    found = sentence(weight(1e6, 1e5, 1e7), ENFSI)
    # 10^1.9 = 79.4.
    assert "about 79 times" in found
    assert "the most that 60 and 80 control families allow" in found
    assert found.endswith("moderate support.")


def test_too_few_families_have_no_sentence_but_a_rank():
    few = Bounds(lower=-0.9, upper=0.9, families=(40, 9))
    with pytest.raises(UndefinedError, match="insufficient controls: 40 and 9"):
        sentence(weight(5, 3, 8, bounds=few), ENFSI)
    assert rank_sentence(standing(5.0, [1.0] * 12, "higher")) == (
        "S is closer to T than all 12 control families; rank p = 1/13."
    )
    assert rank_sentence(standing(5.0, [1.0, 6.0, 2.0], "lower")) == (
        "S is closer to T than 1 of 3 control families; rank p = 3/4."
    )
    assert "the one control family; rank p = 1/2" in rank_sentence(standing(5.0, [1.0], "higher"))
    with pytest.raises(UndefinedError, match="no rank"):
        rank_sentence(standing(5.0, [], "higher"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (math.log10(30), "30"),
        (math.log10(9.97), "9.9"),
        (math.log10(1259), "1,200"),
        (1.9999999, "99"),
        (2, "100"),
        (math.log10(2), "2"),
    ],
)
def test_numbers_are_cut_to_two_digits_never_up(size, text):
    assert rounded_down(size) == text


@pytest.mark.parametrize(
    ("value", "interval"),
    [(math.nan, (0, 1)), (1, (0, math.inf)), (2, (0, 1)), (-1, (0, 1))],
)
def test_what_is_no_value_with_its_interval_has_no_words(value, interval):
    with pytest.raises(UndefinedError, match="interval"):
        verbal(value, interval, ENFSI)


def test_no_sentence_transposes_the_conditional():
    for pair in ("imitation:independent", "replication:independent", "replication:imitation"):
        for lr in (0.01, 0.5, 1, 7, 50):
            found = sentence(weight(lr, lr / 1.5, lr * 1.5, pair), ENFSI)
            assert transposed(found) == ()


@pytest.mark.parametrize(
    "text",
    [
        "The probability that S imitated T is 97 %.",
        "There is a high chance of S being derived from T.",
        "S is 30 times more likely to have imitated T.",
        "It is 30 times more probable that the suspect imitated the reference.",
        "97 % likely derived from T",
        "S most likely distilled T.",
    ],
)
def test_transposed_conditionals_are_found(text):
    assert len(transposed(text)) == 1


def test_no_function_prints_a_posterior():
    names = [name for name in dir(module) if not name.startswith("_")]
    assert [name for name in names if "posterior" in name or "prior" in name] == []


def test_an_unknown_scale_is_refused():
    with pytest.raises(InputError, match="no verbal scale 'jeffreys'") as error:
        load_scale("jeffreys")
    assert "enfsi-2015" in error.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "auditor/verbal-scale/2"},
        {"categories": []},
        {"categories": [{"from": 2, "words": "weak"}]},
        {"categories": [{"from": 1, "words": "none"}, {"from": 1, "words": "weak"}]},
        {"categories": [{"from": "one", "words": "none"}]},
        {"version": "new"},
    ],
)
def test_a_malformed_scale_is_refused(change):
    content = json.loads((data_dir("reports") / "scales" / "nfi.json").read_bytes())
    with pytest.raises(InputError, match=r"scale|categories"):
        scale_from_json({**copy.deepcopy(content), **change})
