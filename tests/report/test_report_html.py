"""The HTML report: one inert file that says what the statistics say."""

import re
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest
from case_content import CASES, HOSTILE
from case_fixture import POSITIONS_MISSING

from auditor.case import Case
from auditor.data import data_dir
from auditor.report import words
from auditor.report.escape import visible

LOADING = {"src", "href", "action", "data", "poster", "srcset", "formaction", "background"}
"""Attributes that can load something."""


def pages(case: Case) -> list[Path]:
    return sorted(case.data.glob("report*.html"))


def tree(path: Path) -> Element:
    """Return the parsed page; the parser stops at the first error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text())


def text_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


@pytest.mark.parametrize("name", CASES)
def test_page_is_strict_html_with_the_policy_and_a_language(rendered, name):
    for path in pages(rendered(name)):
        page = tree(path)
        assert page.attrib["lang"] == "en"
        policy = page.find(".//meta[@http-equiv='Content-Security-Policy']")
        assert policy.attrib["content"] == (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        )


@pytest.mark.parametrize("name", CASES)
def test_page_has_no_script_and_loads_nothing(rendered, name):
    allowed = {p.name for p in pages(rendered(name))}
    for path in pages(rendered(name)):
        for element in tree(path).iter():
            if not isinstance(element.tag, str):
                continue
            assert element.tag not in {"script", "iframe", "object", "embed", "form", "base", "img"}
            for attribute, value in element.attrib.items():
                assert not str(attribute).startswith("on"), (element.tag, attribute)
                if attribute in LOADING:
                    assert value.startswith("#") or value in {"data:,", *allowed}, value
        # Nothing in a style loads: url() only names a clip path of the same page.
        assert not re.search(r"url\((?!#)", "".join(styles(path)))
        assert "@import" not in "".join(styles(path))


def styles(path: Path) -> list[str]:
    page = tree(path)
    found = [element.text or "" for element in page.iter("style")]
    return found + [e.attrib["style"] for e in page.iter() if "style" in e.attrib]


def test_hostile_text_is_shown_and_does_nothing(rendered):
    raw = pages(rendered("hostile"))[0].read_text()
    body = text_of(tree(pages(rendered("hostile"))[0]))
    for hidden in "\u202e\u2066\u200b\u00ad\ufeff\u2060\x1b\x00\x07\ud800":
        assert hidden not in raw
    assert "<script>alert(3)</script>" in body
    assert "alert(3)</script>" not in raw


def test_every_hostile_reply_becomes_text_alone(rendered):
    page = tree(pages(rendered("hostile"))[0])
    replies = page.findall(".//p[@class='text reply']")
    shown = {text_of(reply)[:20] for reply in replies}
    for text in HOSTILE.values():
        assert words_of(text)[:20] in shown
    assert {e.tag for reply in replies for e in reply.iter()} == {"p", "del", "ins", "mark", "span"}


def words_of(text: str) -> str:
    return " ".join(visible(text).split()).replace("⟦", "").replace("⟧", "")


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_every_number_of_the_tables_is_the_statistic(rendered, name):
    rows = rendered(name).read_json("statistics.json")["suspects"]["student"]
    page = tree(pages(rendered(name))[0])
    shown = {}
    for line in page.findall(".//table[@class='measures']/tbody/tr"):
        shown[line.find(".//span[@class='id']").text] = [
            (float(item.attrib["value"]), item.text) for item in line.iter("data")
        ]
    for row in rows:
        expected = [] if row["value"] is None else [(row["value"], words.number(row["value"]))]
        if row["interval"]:
            expected += list(zip(row["interval"], words.ends(*row["interval"]), strict=True))
        expected += [
            (row[key], words.number(row[key], digits))
            for key, digits in (("rank_p", 3), ("z", 3), ("predictive_p", 2))
            if row[key] is not None
        ]
        assert shown[row["id"]] == expected
    assert len(shown) == len(rows)


def test_undefined_measure_shows_its_reason_and_no_number(rendered):
    page = tree(pages(rendered("plain"))[0])
    line = page.find(".//span[@id='S001']/../..")
    assert "undefined: no probe has a checkable answer <b>&</b> none was asked" in text_of(line)
    assert line.find(".//data") is None


def test_missing_positions_say_why(rendered):
    body = text_of(tree(pages(rendered("text-only"))[0]))
    assert f"Not available: student: {POSITIONS_MISSING}." in body


def test_first_screen_asks_answers_and_says_what_to_add(rendered):
    page = tree(pages(rendered("plain"))[0])
    assert text_of(page.find(".//h1")) == "How closely does student mimic teacher?"
    body = text_of(page)
    assert "Without controls there is no verdict." in body
    assert "auditor compare local:/models/student local:/models/teacher" in body
    assert len(page.findall(".//li[@class='card']")) == 3
    assert "What to add" not in text_of(tree(pages(rendered("hostile"))[0]))


@pytest.mark.parametrize("name", CASES)
def test_headings_do_not_skip_a_level(rendered, name):
    for path in pages(rendered(name)):
        levels = [int(e.tag[1]) for e in tree(path).iter() if re.fullmatch("h[1-6]", str(e.tag))]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))


@pytest.mark.parametrize("name", CASES)
def test_tables_and_figures_are_accessible(rendered, name):
    for path in pages(rendered(name)):
        page = tree(path)
        for table in page.iter("table"):
            assert text_of(table.find("caption"))
            assert {th.attrib["scope"] for th in table.iter("th")} <= {"col", "row"}
        svgs = [e for e in page.iter() if str(e.tag).endswith("svg")]
        assert svgs
        assert all(e.attrib["role"] == "img" and len(e.attrib["aria-label"]) > 20 for e in svgs)
        for figure in page.iter("figure"):
            assert figure.find(".//details//table") is not None
        for region in page.findall(".//div[@class='scroll']"):
            assert region.attrib["tabindex"] == "0"
            assert region.attrib["aria-label"]


@pytest.mark.parametrize("name", CASES)
def test_ids_are_unique_and_every_link_arrives(rendered, name):
    for path in pages(rendered(name)):
        page = tree(path)
        ids = [e.attrib["id"] for e in page.iter() if "id" in e.attrib]
        assert len(ids) == len(set(ids))
        for element in page.iter():
            target = element.attrib.get("href", "")
            if target.startswith("#"):
                assert target[1:] in ids
            elif target and target != "data:,":
                assert (path.parent / target).is_file()


def test_exhibits_are_numbered_without_a_gap(rendered):
    body = text_of(tree(pages(rendered("hostile"))[0]))
    numbers = sorted({int(n) for n in re.findall(r"Exhibit (\d+):", body)})
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 10


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2 of ``#rrggbb``."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_contrast(scheme):
    style = (data_dir("reports") / "templates" / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    colour = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[scheme]))
    pairs = [(ink, back) for ink in ("ink", "soft", "accent") for back in ("paper", "plate")]
    for ink, back in [*pairs, ("ink", "tint"), ("ink", "warm")]:
        light, dark = sorted((luminance(colour[ink]), luminance(colour[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, back)
