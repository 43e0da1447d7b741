"""The profile eu-gpai: evidence both ways, field by field, written outside of the case."""

import html5lib
import pytest
from case_fixture import build_case

from auditor.case import Case
from auditor.cli.main import run
from auditor.report.compliance import profile_pages
from auditor.report.render import rendered as rendered_files

CONTROLS = [("indep-a", "independent"), ("indep-b", "independent"), ("sib", "sibling")]
RATIOS = {"imitation:independent": 1.5, "replication:independent": -0.5}


@pytest.fixture
def case(tmp_path) -> Case:
    return build_case(tmp_path / "case", controls=CONTROLS)


def change(case: Case, name: str, edit) -> None:
    content = case.read_json(name)
    edit(content)
    case.write_json(name, content)


def table_of(page: str, caption: str) -> dict[str, tuple[str, ...]]:
    """Return {first cell: other cells} of a table."""
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    (table,) = [t for t in tree.iter("table") if "".join(t.find("caption").itertext()) == caption]
    rows = [["".join(cell.itertext()) for cell in row] for row in table.findall("tbody/tr")]
    return {row[0]: tuple(row[1:]) for row in rows}


def test_a_ratio_below_one_speaks_for_the_other_proposition(case):
    change(case, "conclusion.json", lambda c: c["suspects"]["student"].update(log10_lr=RATIOS))
    found = table_of(profile_pages(case)["html"], "Evidence on student, for and against")
    speaks = {sentence.split(" if ")[0]: where for sentence, (where,) in found.items()}
    # 10^1.5 = 32, 10^0.5 = 3.2
    assert speaks["The findings are 32 times more probable"] == "for imitation over independent"
    assert speaks["The findings are 3.2 times less probable"] == "for independent over replication"


def test_a_measure_inside_the_controls_speaks_for_no_link(case):
    def closer(content):
        for row in content["suspects"]["student"]:
            row["control_values"] = [9.0 if row["closer"] == "higher" else 0.0] * 3

    before = table_of(profile_pages(case)["html"], "Evidence on student, for and against")
    assert ("for a link",) in before.values()
    change(case, "statistics.json", closer)
    after = table_of(profile_pages(case)["html"], "Evidence on student, for and against")
    assert set(after.values()) == {("not for a link: inside the controls",)}


def test_every_field_says_what_the_case_holds_and_what_it_cannot_say(case):
    found = table_of(
        profile_pages(case)["html"], "What is to be stated, and what this case holds on student"
    )
    assert all(len(cells) == 2 and all(cells) for cells in found.values())
    for start in ("Summary 2.5", "Annex XI 1(2)(c)", "Annex XII 2(c)", "Article 53(1)(c)"):
        assert [field for field in found if field.startswith(start)]
    (synthetic,) = [cells for field, cells in found.items() if field.startswith("Summary 2.5")]
    assert synthetic[0].startswith("reading inconclusive with regard to teacher")


def test_it_supports_a_review_and_never_claims_compliance(case):
    for page in profile_pages(case).values():
        assert "Designed to support" in page
        assert "compliant" not in page.lower()
        assert "does not say that a provider meets or fails an obligation" in page


def test_the_command_writes_beside_the_case_and_changes_nothing_in_it(case, capsys):
    before = {path: path.read_bytes() for path in case.root.rglob("*") if path.is_file()}
    assert run(["report", str(case.root), "--profile", "eu-gpai"]) == 0
    target = case.root.with_name("case.eu-gpai.html")
    assert capsys.readouterr().out.strip() == str(target)
    assert target.read_text() == profile_pages(case)["html"]
    assert run(["report", str(case.root), "--profile", "eu-gpai", "--format", "md"]) == 0
    assert {p: p.read_bytes() for p in case.root.rglob("*") if p.is_file()} == before
    # The same page again is no replacement.
    assert run(["report", str(case.root), "--profile", "eu-gpai"]) == 0


def test_the_command_refuses_to_replace_or_to_write_into_the_case(case, tmp_path, capsys):
    taken = tmp_path / "taken.html"
    taken.write_text("mine")
    inside = case.data / "page.html"
    wrong = (
        ["--profile", "eu-gpai", "--out", str(taken)],
        ["--profile", "eu-gpai", "--out", str(inside)],
        ["--profile", "eu-gpai", "--format", "junit"],
        ["--out", str(tmp_path / "x.html")],
    )
    for words in wrong:
        assert run(["report", str(case.root), *words]) == 2, words
        assert "hint: " in capsys.readouterr().err
    assert taken.read_text() == "mine"
    assert not inside.exists()


def test_a_plan_with_the_profile_has_its_pages_in_the_case(case):
    plan = {
        "title": "T", "question": None, "hypotheses": [], "population": None, "measures": [],
        "decision": None, "profile": "eu-gpai",
    }  # fmt: skip
    whole = {"plan": plan, "digest": "sha256:0", "lock": None, "accepted": None}
    change(case, "plan.json", lambda c: c.update(declared=whole, marks=[]))
    case.write_json("deviations.json", {"deviations": []})
    found = dict(rendered_files(case))
    assert found["report.eu-gpai.html"].decode() == profile_pages(case)["html"]
    assert found["report.eu-gpai.md"].decode() == profile_pages(case)["md"]
