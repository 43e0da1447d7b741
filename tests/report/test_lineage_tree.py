"""The lineage graph: where its nodes are drawn, what it says, and how it looks in a browser."""

import re
from xml.etree import ElementTree

import chromium
import pytest

from auditor.report.lineage_tree import Leaf, tree_drawing
from auditor.report.prefilter import (
    label_of,
    left_out_sentence,
    prefilter_page,
    prefilter_svg,
    table_rows,
)

LONG = "a-model-with-a-very-long-name-that-somebody-chose-" * 3


def node(parent, length, leaf=None):
    return {"parent": parent, "length": length, "leaf": leaf}


# reference 0 -- (1 at 0.5 + 0.25, 2 at 0.5 + 0.5)
NODES = [node(None, 0.0, 0), node(0, 0.5), node(1, 0.25, 1), node(1, 0.5, 2)]


def row(spec, **more):
    return {
        "spec": spec,
        "origin": "argument 1",
        "sample_digest": "sha256:" + "0" * 64,
        "bytes_read": 1_500_000,
        "bytes_stored": 3_000_000,
        "undefined": {},
        "same_digest": False,
        "read_whole": False,
        "tensor_reuse": 0.5,
        "same_tokenizer": True,
        "vocabulary_overlap": 0.25,
        "distance": 0.75,
        "matrices": 3,
        "measured": True,
    } | more


def content(count=2, name="m{}"):
    """A star of `count` suspects around one node."""
    nodes = [node(None, 0.0, 0), node(0, 0.1)]
    nodes += [node(1, 0.9 * n / count, n) for n in range(1, count + 1)]
    return {
        "note": "Context, not evidence.",
        "reference": {"spec": "tiny:zoo/reference-00"},
        "suspects": [
            row(f"local:/x/{name.format(n)}", measured=n <= 3) for n in range(1, count + 1)
        ],
        "left_out": max(0, count - 3),
        "refused": [{"origin": "l.txt:3", "entry": "<b>x", "reason": "corrupt", "repeated": False}],
        "tree": {"method": "m", "newick": "n", "nodes": nodes},
    }


def numbers(text):
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


def test_each_tip_lies_at_its_distance_along_the_tree():
    leaves = [Leaf(label=n, measured=True) for n in ("r", "a", "b")]
    svg = tree_drawing(NODES, leaves).svg()
    dots = [numbers(f"{x} {y}") for x, y in re.findall(r'circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    # x runs from 8 (0) to 8 + 0.55 * 376 = 214.8 (the farthest, 1); rows are 17 high from 26.
    assert dots == [
        [8, 34.5],
        [pytest.approx(8 + 0.75 * 206.8), 51.5],
        [pytest.approx(214.8), 68.5],
    ]
    # The inner node is half-way between its children: (51.5 + 68.5) / 2 = 60.
    assert "L8 60" in svg


def test_measured_and_left_out_differ_by_filling():
    svg = tree_drawing(NODES, [Leaf(label=n, measured=n != "b") for n in "rab"]).svg()
    fills = re.findall(r"<circle [^>]*fill:([^;]+);stroke:([^;]+)", svg)
    assert fills == [
        ("var(--ink)", "none"),
        ("var(--accent)", "var(--accent)"),
        ("var(--plate)", "var(--control)"),
    ]


def test_a_tree_of_equal_models_is_drawn():
    flat = [node(None, 0.0, 0), node(0, 0.0, 1)]
    assert "reference: r" in tree_drawing(flat, [Leaf(label=n, measured=True) for n in "ra"]).svg()


def test_the_file_is_well_formed_and_says_what_it_is_not():
    svg = prefilter_svg(content(name="<m>&{}"))
    root = ElementTree.fromstring(svg)  # noqa: S314 - made here
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:3] == ["Context, not evidence", "reference: reference-00", "<m>&1"]
    assert "prefers-color-scheme: dark" in svg
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_table_says_what_is_not_known():
    known, unknown = table_rows(
        content() | {
            "suspects": [
                row("hf:org/a@1"),
                row("openai:b?base_url=http://h/v1", same_digest=None, tensor_reuse=None,
                    same_tokenizer=None, vocabulary_overlap=None, distance=None, measured=False),
            ]
        }
    )  # fmt: skip
    assert known == ("a@1", "other", "50%", "same", "25%", "0.750", "1.5 of 3.0", "yes")
    assert unknown[0] == "b"
    assert set(unknown[1:6]) == {"not known"}
    assert unknown[7] == "no"


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("local:/a/b", "b"),
        ("tiny:teacher", "teacher"),
        ("smollm2", "smollm2"),
        ("local:/", "local:/"),
        ("local:/a/b?device_map=auto", "b?device_map=auto"),
        ("gguf:/a/b?.gguf", "b?.gguf"),
        ("openai:m?base_url=http://h/v1", "m"),
    ],
)
def test_labels(spec, label):
    assert label_of(spec) == label


def test_what_is_left_out_is_said_with_what_it_does_to_p_values():
    assert left_out_sentence(content(2)) == "None of 2 suspects is left out."
    said = left_out_sentence(content(10))
    assert said.startswith("7 of 10 suspects were left out")
    assert "nothing is concluded" in said


CLIPPED = """
[...document.querySelectorAll('text')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1);
}).map(e => e.textContent)
"""
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("count", [3, 200])
def test_page_and_file_fit_the_window_in_light_and_dark(browser, tmp_path, width, count):
    given = content(count, name=LONG + "-{}")
    page, file = tmp_path / "g.html", tmp_path / "g.svg"
    page.write_text(prefilter_page(given))
    file.write_text(prefilter_svg(given))
    inks = set()
    for path in (page, file):
        for dark in (False, True):
            browser.messages.clear()
            browser.requests.clear()
            browser.open(path, width=width, dark=dark)
            assert browser.value(CLIPPED) == []
            assert browser.value(WIDE) <= 0
            assert browser.messages == []
            assert browser.requests == [path.resolve().as_uri()]
            size = "document.querySelector('text').getBoundingClientRect().height"
            assert browser.value(size) >= 10  # CSS pixels: readable on a phone
            inks.add((path, browser.value("getComputedStyle(document.querySelector('text')).fill")))
    assert len(inks) == 4  # light and dark differ, in both
