"""What a report shows first is fixed beforehand, and the plates hold what they draw."""

from dataclasses import replace

import pytest
from case_fixture import build_case

from auditor.errors import CaseError
from auditor.report import plates
from auditor.report.divergence import Kind
from auditor.report.findings import Findings, read_findings


@pytest.fixture(scope="module")
def findings(tmp_path_factory) -> Findings:
    return read_findings(build_case(tmp_path_factory.mktemp("f") / "case"), "student")


def names(found: Findings) -> list[str]:
    return [row.name for row in found.headlines]


def without(found: Findings, *dropped: str) -> Findings:
    return replace(found, rows=tuple(r for r in found.rows if r.name not in dropped))


def test_first_measures_are_divergence_text_and_meaning(findings):
    assert names(findings) == ["logit-kl-forward", "text-chrf", "embedding-cosine"]


def test_without_them_the_first_of_each_other_group_is_shown(findings):
    left = without(findings, "logit-kl-forward", "text-chrf")
    # text-ngram-overlap has one probe only, so it comes last
    assert names(left) == ["embedding-cosine", "logit-js", "text-ngram-overlap"]


def test_measure_on_few_probes_comes_after_the_others(findings):
    few = tuple(replace(r, probes=9) if r.name == "logit-kl-forward" else r for r in findings.rows)
    assert names(replace(findings, rows=few))[:2] == ["text-chrf", "embedding-cosine"]


def test_undefined_measure_is_never_shown_first(findings):
    assert "answer-shared" not in names(
        without(findings, *{r.name for r in findings.rows} - {"answer-shared"})
    )


def test_groups_come_in_a_fixed_order(findings):
    assert list(findings.groups) == ["text", "distribution", "idiosyncrasy", "representation"]


def test_suspect_that_is_not_in_the_case_is_named(findings):
    with pytest.raises(CaseError, match="'nobody' is not a judged suspect"):
        read_findings(findings.case, "nobody")


def kind(name: str, mean: float) -> Kind:
    return Kind(name=name, probes=2, positions=9, mean=mean, spread=(mean / 2, mean * 2))


def test_kinds_are_suites_and_the_table_has_the_categories_too():
    found = plates.kind_plate(
        "k", [kind("a", 0.4), kind("b", 0.2)], [kind("a: x", 0.4), kind("b: y", 0.2)]
    )
    assert found is not None
    assert "a  (2 probes)" in found.svg
    assert "a: x" not in found.svg
    assert [row[0] for row in found.table.rows] == ["a", "b", "a: x", "b: y"]
    assert found.table.rows[0] == ("a", "0.4", "0.200 to 0.800", "2", "9")


def test_many_categories_are_cut_in_the_drawing_and_not_in_the_table():
    many = [kind(f"c{i}", 1.0 / (i + 1)) for i in range(40)]
    found = plates.kind_plate("k", [kind("only", 0.1)], many)
    assert found is not None
    assert found.svg.count("(2 probes)") == 14
    assert "the 7 most and the 7 least" in found.caption
    assert len(found.table.rows) == 40
