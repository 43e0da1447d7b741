"""Drawings: round ticks, axes that point the right way, SVG without anything but shapes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.axes import decades, round_ticks
from auditor.report.interval_chart import Mark, Panel, interval_rows, strip
from auditor.report.plates import panel
from auditor.report.plots import Curve, curve, histogram
from auditor.report.svg import cleaned, labelled, plain_label


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        # (high - low) / 4 = 0.25 is itself a round step
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        # 0.1175 is rounded up to 0.2
        (0.0, 0.47, [0.0, 0.2, 0.4]),
        (0.99975, 1.0, [0.9998, 0.9999, 1.0]),
        (-0.003, 0.005, [-0.002, 0.0, 0.002, 0.004]),
        (0.0, 5e-9, [0.0, 2e-9, 4e-9]),
    ],
)
def test_ticks_are_round_and_inside(low, high, ticks):
    assert round_ticks(low, high) == pytest.approx(ticks, abs=1e-18)


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6))
def test_there_are_two_to_six_ticks_inside(low, width):
    high = low + width
    ticks = round_ticks(low, high)
    slack = 1e-8 * max(abs(low), abs(high), width)
    assert len(ticks) <= 6
    assert all(low - slack <= tick <= high + slack for tick in ticks)


def test_decades_are_powers_of_ten_and_few():
    assert decades(0.002, 300.0) == pytest.approx([0.01, 0.1, 1.0, 10.0, 100.0])
    assert len(decades(1e-12, 1e3)) <= 5
    # no two powers of ten in here
    assert decades(0.02, 0.08) == pytest.approx([0.02, 0.04, 0.06, 0.08])


def dots(svg: str) -> list[float]:
    """Return the horizontal places of the filled dots, in drawing order."""
    return [float(x) for x in re.findall(r'<use href="[^"]*" x="([\d.]+)"[^>]*accent', svg)]


def two(closer: str, unit: str = "share") -> Panel:
    return panel(unit, closer, [Mark(label="a", value=0.2), Mark(label="b", value=0.8)])


def test_right_is_closer_whichever_way_the_measure_counts():
    low, high = dots(interval_rows("k", [two("higher")]))
    assert low < high
    low, high = dots(interval_rows("k", [two("lower")]))
    assert low > high


def test_share_without_controls_is_drawn_on_all_of_zero_to_one():
    # 376 points less 12 on each side: 0.2 and 0.8 of 352
    assert dots(interval_rows("k", [two("higher")])) == pytest.approx(
        [12 + 0.2 * 352, 12 + 0.8 * 352]
    )


def test_values_that_span_decades_get_a_logarithmic_axis():
    marks = [Mark(label=str(v), value=v) for v in (1e-6, 1e-3, 1.0)]
    a, b, c = dots(interval_rows("k", [panel("nats/token", "higher", marks)]))
    assert b - a == pytest.approx(c - b, abs=0.01)


def test_equal_values_and_exact_zero_can_be_drawn():
    for value in (0.0, 1.0, 1e-9, -0.3):
        mark = Mark(label="same", value=value, interval=(value, value))
        for unit in ("share", "nats/token"):
            assert "<svg" in strip("k", panel(unit, "lower", [mark]))
            assert "<svg" in strip("k", panel(unit, "higher", [mark]))


@pytest.fixture(scope="module")
def drawings() -> list[str]:
    mark = Mark(label="<b>&", value=0.4, interval=(0.3, 0.5), controls=(("sibling", 0.2),))
    return [
        interval_rows("one", [panel("share", "higher", [mark])]),
        histogram("two", [1e-3, 1e-2, 1e-1], [3, 4], "nats"),
        curve("three", Curve(points=((0.0, 2.0), (10.0, 1.0))), x="step", y="nats"),
        curve("four", Curve(points=((0.0, 2.0),)), x="step", y="nats"),
    ]


def test_drawing_holds_shapes_in_page_colours_alone(drawings):
    for svg in drawings:
        assert svg.startswith("<svg viewBox=")
        assert not re.search(r"<(style|metadata|script|image|foreignObject|!--)", svg)
        assert "http" not in svg
        assert "font-family" not in svg
        assert "#0a01" not in svg
        assert set(re.findall(r"var\(--(\w+)\)", svg)) <= {
            "ink", "soft", "grid", "accent", "control", "plate",
        }  # fmt: skip
    assert "&lt;b&gt;&amp;" in drawings[0]


def test_ids_carry_the_key_of_the_drawing_and_are_all_used(drawings):
    for svg, key in zip(drawings, ("one", "two", "three", "four"), strict=True):
        ids = re.findall(r' id="([^"]+)"', svg)
        used = {a or b for a, b in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)}
        assert set(ids) == used
        assert all(name.startswith(f"{key}-") for name in ids)


def test_cleaning_drops_comments_metadata_and_styles():
    raw = (
        '<?xml version="1.0"?>\n<svg xmlns:xlink="x" width="9pt" height="9pt" viewBox="0 0 9 9" '
        'xmlns="y" version="1.1">\n<metadata><a/></metadata><!-- c --><defs><style type="text/css">'
        '*{a:b}</style></defs><g id="spare"><use xlink:href="#m1"/></g><path id="m1"/></svg>'
    )
    assert cleaned(raw, "k") == (
        '<svg viewBox="0 0 9 9"><g><use href="#k-m1"/></g><path id="k-m1"/></svg>'
    )


def test_text_alternative_is_escaped():
    shown = str(labelled("<svg viewBox='0'></svg>", 'a "quoted" <b>\u202e'))
    assert 'aria-label="a &#34;quoted&#34; &lt;b&gt;⟦U+202E⟧"' in shown


def test_label_without_glyphs_is_written_by_code_point():
    assert plain_label("é 你\x1b") == "é \\u4f60\\u001b"
