"""The Markdown report says the same as the HTML one, and is as inert."""

import re

import pytest
from case_fixture import POSITIONS_MISSING

from auditor.report import words
from auditor.report.markdown import report_markdown


@pytest.fixture
def hostile(rendered) -> str:
    return (rendered("hostile").data / "report.md").read_text()


def outside_code(text: str) -> str:
    """Return the text without fenced blocks and code spans."""
    kept, fence = [], None
    for line in text.split("\n"):
        mark = re.match(r"(`{3,})", line)
        if fence is None and mark:
            fence = mark[1]
        elif fence is not None:
            fence = None if line == fence else fence
        else:
            kept.append(re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", line))
    assert fence is None, "a block is left open"
    return "\n".join(kept)


def test_no_html_and_no_link_outside_of_code(hostile):
    prose = outside_code(hostile)
    assert "<" not in prose
    assert "](" not in prose
    assert "://" not in prose
    assert "# not a heading" not in prose


def test_hidden_characters_are_escaped(hostile):
    for hidden in "\u202e\u200b\x1b\x00\ud800\r":
        assert hidden not in hostile


def test_tables_have_the_same_number_of_cells_in_every_row(hostile):
    tables = re.findall(r"(?:^\|.*\|[ ]?\n)+", hostile, re.M)
    assert len(tables) >= 5
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_values_and_ids_are_those_of_the_statistics(rendered, name):
    case = rendered(name)
    shown = (case.data / "report.md").read_text()
    for row in case.read_json("statistics.json")["suspects"]["student"]:
        (line,) = re.findall(rf"^\| {row['id']} \|.*$", shown, re.M)
        if row["value"] is None:
            assert "undefined: no probe has a checkable answer &lt;b>&amp;&lt;/b>" in line
        else:
            assert f"| {words.number(row['value'])} |" in line


def test_missing_positions_say_why(rendered):
    shown = (rendered("text-only").data / "report.md").read_text()
    assert f"Not available: student: {POSITIONS_MISSING}." in shown


def test_overview_links_to_every_report(rendered):
    overview = (rendered("scan").data / "report.md").read_text()
    for name in ("student", "tuned-1.5"):
        assert f"[report](report-{name}.md)" in overview


def test_markdown_alone_is_what_rendering_writes(rendered):
    case = rendered("plain")
    assert report_markdown(case, "student") == (case.data / "report.md").read_text()
