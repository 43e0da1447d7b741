"""The figures of what was judged: drawn from stored numbers, or replaced by a sentence."""

import copy
import math
import re

import pytest
from case_fixture import build_case
from judged_content import CATEGORIES, calibrated_case, details, scope

from auditor.bundle.check_references import _numbers
from auditor.case import Case
from auditor.report.canvas import Canvas, Scale
from auditor.report.class_chart import class_plate
from auditor.report.correlation_map import correlation_plate
from auditor.report.findings import read_findings
from auditor.report.forest import forest_plate
from auditor.report.html import report_html
from auditor.report.judged import judged_parts
from auditor.report.judged_words import ratio
from auditor.report.markdown import markdown_of
from auditor.report.scope_map import scope_plate
from auditor.report.timeline import custody_spans, timeline_plate
from auditor.report.tornado import ratio_ticks, tornado_plate
from auditor.report.validation_charts import validation_plates
from auditor.report.view import report_view

TITLES = (
    "Likelihood ratios: each line alone, and all together",
    "The suspect among controls of known answer, score by score",
    "How the lines go together",
    "Probe categories, by the suspect's own samples",
    "Tippett plot: how often controls reach a ratio",
    "Empirical cross-entropy: what the ratios cost at each prior",
    "PAV plot: are the ratios as large as they should be?",
    "Dose and response: controls with a known share of imitation",
    "What the finding becomes without one thing",
)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """A calibrated case; tests must not change it."""
    return calibrated_case(tmp_path_factory.mktemp("judged") / "case", sealed=True)


@pytest.fixture(scope="module")
def page(case) -> str:
    return report_html(case, "student")


@pytest.fixture(scope="module")
def judged() -> dict:
    return details()


def test_every_figure_is_in_the_page_with_number_text_alternative_and_table(page):
    found = re.findall(r"Exhibit (\d+): ([^<]+)</p>", page)
    numbers = [int(number) for number, _ in found]
    assert numbers == sorted(numbers)
    titles = [title.replace("&#39;", "'") for _, title in found]
    assert [title for title in titles if title in TITLES] == list(TITLES)
    assert titles[-1] == "Time line"
    for figure in re.findall(r"<figure.*?</figure>", page, re.S):
        assert re.search(r'<svg role="img" aria-label="[^"]{40,}"', figure)
        assert "<table>" in figure


def test_every_exact_number_of_the_page_is_a_stored_one(case, page):
    stored = [case.read_json(name) for name in ("conclusion.json", "statistics.json")]
    known = set(_numbers(stored))
    shown = [float(value) for value in re.findall(r'<data value="([^"]*)"', page)]
    assert len(shown) > 300
    assert set(shown) <= known


def test_the_page_is_the_same_bytes_again(case, page):
    assert report_html(case, "student") == page


def test_an_open_case_has_no_time_line_and_the_same_exhibit_numbers(case, tmp_path):
    open_case = calibrated_case(tmp_path / "open")
    assert custody_spans(open_case) is None
    opened = report_html(open_case, "student")
    assert "No time line to draw: the case is not sealed" in opened
    numbered = re.compile(r'id="(exhibit-\d+)"')
    sealed = numbered.findall(report_html(case, "student"))
    assert numbered.findall(opened) == sealed[:-1]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("weight", "No likelihood ratios to draw"),
        ("dependence", "No correlations to draw"),
        ("scope", "No map to draw"),
        ("trust", "No Tippett, cost or PAV plots to draw"),
        ("dose", "No dose and response to draw"),
        ("left-out", "No tornado to draw"),
    ],
)
def test_without_data_one_sentence_says_what_is_missing_and_how_to_get_it(tmp_path, key, says):
    bare = build_case(tmp_path / "bare")
    part = next(p for p in judged_parts(read_findings(bare, "student")) if p.key == key)
    assert part.plates == ()
    assert part.missing.startswith(says)
    assert re.search(r"auditor |--control|Ask for more access", part.missing)


def test_a_conclusion_of_an_earlier_release_is_named(tmp_path):
    old = build_case(tmp_path / "old")
    content = old.read_json("conclusion.json")
    kept = {key: content[key] for key in ("schema", "rules", "suspects")}
    old.write_json("conclusion.json", kept)
    parts = {p.key: p for p in judged_parts(read_findings(old, "student"))}
    assert "judged by an earlier release" in parts["weight"].missing
    assert "auditor measure, then auditor judge" in parts["left-out"].missing


def test_the_reason_for_no_ratio_is_the_stated_one(tmp_path):
    other = build_case(tmp_path / "other")
    content = other.read_json("conclusion.json")
    content["suspects"]["student"]["limits"] += [
        "No likelihood ratio: outside the population zoo: the suspect's tokenizer is unknown."
    ]
    other.write_json("conclusion.json", content)
    part = judged_parts(read_findings(other, "student"))[0]
    assert "outside the population zoo: the suspect's tokenizer is unknown." in part.missing


def place(svg: str, shape: str, key: str) -> list[float]:
    return [float(x) for x in re.findall(rf'<{shape} [^>]*?{key}="([\d.-]+)"', svg)]


def test_a_capped_ratio_is_drawn_at_its_cap_with_an_arrow(judged):
    support = judged["support"]["student"]
    fusion = support["lines"][0]
    pair = "imitation:independent"
    capped, free = fusion["pairs"][pair], {**fusion["pairs"][pair], "capped": False}
    only = {"lines": [{**fusion, "pairs": {pair: capped}}]}
    assert capped["capped"]
    svg = str(forest_plate(only).svg)
    # The axis runs over whole powers of ten, -2 to 2 from 112 to 314 points.
    low, high = 112.0, 376.0 - 62.0
    x = low + (capped["bounds"][1] + 2) / 4 * (high - low)
    assert place(svg, "circle", "cx") == pytest.approx([x], abs=0.01)
    assert " Z" in svg
    assert "44 cap" in svg
    without = str(forest_plate({"lines": [{**fusion, "pairs": {pair: free}}]}).svg)
    assert " Z" not in without


def test_a_line_that_cannot_speak_has_no_ratio_in_words(judged):
    plate = forest_plate(judged["support"]["student"])
    row = next(r for r in plate.table.rows if r[0].endswith("independence: Neuron matching"))
    assert row[1] == "cannot tell"
    assert ">cannot tell</text>" in plate.svg


def test_suspect_lies_among_family_means_of_each_class():
    controls = [
        {"family": "a", "class": "independent", "scores": {"sample": -1.0}},
        {"family": "a", "class": "independent", "scores": {"sample": 1.0}},
        {"family": "b", "class": "imitation", "scores": {"sample": math.sinh(2.0)}},
        {"family": "c", "class": "imitation", "scores": {"other": 9.0}},
    ]
    places = [
        {"score": "sample", "class": "independent", "families": 1, "lowest": 0.0, "median": 0.0,
         "highest": 0.0},
    ]  # fmt: skip
    plate = class_plate({"scores": places}, {"sample": math.sinh(1.0)}, controls)
    # asinh: one family at 0 (its mean), one at 2, the suspect at 1 between them. The axis has 0.08
    # of room on both sides of 0 to 2, over 132 to 362 points: 0 is 230 * 0.08 / 2.16 inside.
    left = 132 + 230 * 0.08 / 2.16
    assert place(str(plate.svg), "circle", "cx") == pytest.approx([left, 494 - left], abs=0.01)
    assert 'd="M247 32 L247 96"' in plate.svg
    assert plate.table.rows == (
        ("Suspect's words: independent models", 0.0, 0.0, 0.0, 1, math.sinh(1.0)),
    )


def test_tippett_curve_falls_after_each_value(judged):
    (validation,) = judged["validation"].values()
    pair = "imitation:independent"
    curve = {"first": [[0.0, 1.0], [1.0, 0.25]], "second": [[-1.0], [1.0]]}
    found = validation["pairs"][pair]
    found = {**found, "bounds": [-2.0, 2.0], "curves": {**found["curves"], "tippett": curve}}
    svg = str(validation_plates({"pairs": {pair: found}})[0].svg)
    paths = re.findall(r'd="(M[^"]*)" style="fill:none;stroke:var\(--accent\);stroke-width:2"', svg)
    # x from 40 to 364 over -2..2, y from 142 (none) to 40 (all): all until 0, a quarter until 1.
    assert paths[0] == ("M40 40 L202 40 L202 116.5 L283 116.5 L283 142 L364 142 L364 142")


def test_pav_ends_point_out_of_the_frame(judged):
    (validation,) = judged["validation"].values()
    curve = {"log10_lr": [-1.0, 0.0, 1.0], "pav": [None, 0.2, None], "first": [False, True, True]}
    pair = "imitation:independent"
    found = validation["pairs"][pair]
    found = {**found, "bounds": [-1.0, 1.0], "curves": {**found["curves"], "pav": curve}}
    plate = validation_plates({"pairs": {pair: found}})[2]
    tips = re.findall(r'd="M([\d.]+) ([\d.]+) L[^"]* Z"', str(plate.svg))
    # At the left end downwards under the frame (142 + 4), at the right end upwards (40 - 4).
    assert tips == [("40", "146"), ("364", "36")]
    assert plate.table.rows[0][2] == "unbounded"


def test_correlations_are_never_shown_without_the_warning(judged):
    (validation,) = judged["validation"].values()
    plate = correlation_plate(validation["dependence"])
    assert "not to be multiplied" in plate.caption
    worth = validation["dependence"][0]["effective_lines"]
    assert f"independent models {worth:.1f}" in plate.caption
    assert plate.table.rows[0][-1] == worth
    one = [
        {**row, "scores": ["sample"], "correlation": [[1.0]]} for row in validation["dependence"]
    ]
    assert correlation_plate(one) is None


def test_scope_draws_the_strongest_parts_and_lists_all():
    plate = scope_plate(scope(), "category")
    assert "Drawn: 20 of 26; the table has all." in plate.caption
    assert len(plate.table.rows) == 26
    assert plate.table.rows[1][1] == "undefined: no controls"
    assert str(plate.svg).count("<rect") == 20
    assert "&lt;0.0001" in plate.svg


def test_tornado_draws_what_changes_most_and_lists_all(judged):
    robustness = copy.deepcopy(judged["robustness"]["student"])
    plate = tornado_plate(robustness, "imitation:independent")
    assert len(plate.table.rows) == 1 + len(robustness["rows"]) + 2
    drawn = re.findall(r">(kind-\d+)</text>", str(plate.svg))
    assert len(drawn) <= 4
    bare = {**robustness, "base": {**robustness["base"], "log10_lr": None}, "calibration": None}
    for row in bare["rows"]:
        row["log10_lr"] = None
    by_test = tornado_plate(bare, "imitation:independent")
    assert "Whose words the suspect uses, z" in by_test.caption
    # z falls with the number of the category: the last four change most.
    assert re.findall(r">(kind-\d+)</text>", str(by_test.svg)) == list(CATEGORIES[:-5:-1])


def test_time_line_gives_first_and_last_of_each_kind(case):
    rows = timeline_plate(custody_spans(case)).table.rows
    assert rows == (
        ("Plan fixed, start", "1", "2026-03-01 09:00:00", "2026-03-01 09:00:00"),
        ("Replies written", "2", "2026-03-01 09:10:00", "2026-03-01 10:00:00"),
        ("Sealed", "1", "2026-03-01 11:30:00", "2026-03-01 11:30:00"),
    )


def test_markdown_says_the_same(case):
    text = markdown_of(report_view(read_findings(case, "student")), case)
    assert "## Weight of the findings" in text
    assert "not to be multiplied" in text
    assert re.search(r"Imitation rather than independence: All together \| 44 \(cap\)", text)


def test_ratios_read_as_people_say_them():
    # 10^1.65 = 44.67 and 10^-1.38 = 1/23.99: rounded towards 1, as the conclusion's sentence.
    found = [ratio(x) for x in (0.0, 0.001, 1.0, -1.0, 1.65, -1.38, 0.3)]
    assert found == ["1", "1", "10", "1/10", "44", "1/23", "1.9"]


def test_ticks_of_ratios_are_round_few_and_inside():
    for low, high in ((-2.0, 2.0), (1.4, 1.9), (-0.3, 0.4), (1.45, 1.5), (-1.2, -0.6)):
        ticks = ratio_ticks(low, high)
        assert len(ticks) <= 5
        assert all(low <= tick <= high for tick in ticks)
    assert [ratio(tick) for tick in ratio_ticks(-2.0, 2.0)] == ["1/100", "1/10", "1", "10", "100"]
    # Of 20, 30 .. 70 there would be six: the 2 and the 5 remain.
    assert [ratio(tick) for tick in ratio_ticks(1.2, 1.9)] == ["20", "50"]


def test_canvas_text_is_inert_and_scale_holds_to_its_ends():
    canvas = Canvas(10.0)
    canvas.text((0, 0), "<script>\u202e\x1b")
    assert "<script" not in canvas.svg()
    assert "\u202e" not in canvas.svg()
    scale = Scale((0.0, 2.0), (10.0, 110.0))
    assert [scale(v) for v in (-5.0, 1.0, 9.0)] == [10.0, 60.0, 110.0]
    assert scale.holds(2.0)
    assert not scale.holds(2.1)


def test_drawings_hold_page_colours_alone(page):
    inline = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(inline) > 8
    for svg in inline:
        assert not re.search(r"<(style|script|image|foreignObject)|http", svg)
        assert not re.search(r"#[0-9a-f]{6}", svg)


def test_hostile_names_are_shown_and_do_nothing():
    parts = scope()
    parts["parts"][0]["name"] = "<b>&\u202e"
    plate = scope_plate(parts, "category")
    assert "<b>" not in str(plate.svg)
    assert "U+202E" in str(plate.svg)
