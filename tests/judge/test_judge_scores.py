import math

import pytest
from fusion_world import score_rows

from auditor.errors import UndefinedError
from auditor.judge.scores import ScoreRow, families_by_class, proposition_of, table_digest
from auditor.types import CONTROL_ROLES


def row(subject, family, proposition, **scores):
    return ScoreRow(subject=subject, family=family, proposition=proposition, scores=scores)


def test_siblings_and_bases_have_no_link():
    found = [proposition_of(role) for role in CONTROL_ROLES]
    assert found == ["independent"] * 3 + ["imitation", "replication"]
    with pytest.raises(UndefinedError, match="suspect"):
        proposition_of("suspect")


def test_families_are_counted_not_models():
    rows = [row("a", "f", "imitation"), row("b", "f", "imitation"), row("c", "g", "independent")]
    assert families_by_class(rows) == {"independent": 1, "imitation": 1, "replication": 0}


def test_a_family_that_leaks_into_two_classes_is_refused():
    with pytest.raises(UndefinedError, match="'f' is in the classes imitation and independent"):
        families_by_class([row("a", "f", "imitation"), row("b", "f", "independent")])


def test_a_control_listed_twice_is_refused():
    with pytest.raises(UndefinedError, match="'a' is in the table twice"):
        families_by_class([row("a", "f", "imitation"), row("a", "g", "imitation")])


def test_the_digest_covers_every_score_and_no_order():
    rows = score_rows(sizes={"independent": 3})
    assert table_digest(rows) == table_digest(rows[::-1])
    other = score_rows(sizes={"independent": 3}, span=lambda *_: 1e-9)
    assert table_digest(rows) != table_digest(other)


def test_a_missing_score_is_left_out_and_not_zero():
    assert row("a", "f", "imitation", span=None, sample=0.0).as_json()["scores"] == {"sample": 0.0}
    assert not row("a", "f", "imitation", span=None).has(["span"])
    assert row("a", "f", "imitation", sample=0.0).has(["sample"])


def test_nan_enters_no_table():
    with pytest.raises(ValueError, match="nan"):
        table_digest([row("a", "f", "imitation", span=math.nan)])
