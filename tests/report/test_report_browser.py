"""The reports in a real headless Chromium: nothing clipped, nothing loaded, nothing to complain."""

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from judged_content import calibrated_case
from run_fixture import write_run
from student_fixture import add_student_report

from auditor.report.compliance import profile_pages
from auditor.report.distillation import write_run_report
from auditor.report.render import write_reports

PAGES = {
    "plain": "report.html",
    "hostile": "report.html",
    "scan": "report.html",
    "run": "report.html",
    "judged": "report.html",
}
# Elements that reach beyond the window; what scrolls inside its own box may be wider.
CLIPPED = """
[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1)
    && !e.closest('.scroll') && !e.closest('.skip');
}).map(e => e.tagName + '.' + e.className)
"""
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OPEN_ALL = "for (const d of document.querySelectorAll('details')) d.open = true"
INK = "getComputedStyle(document.body).color + getComputedStyle(document.body).backgroundColor"
SVG_INK = "getComputedStyle(document.querySelector('svg text')).fill"

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[chromium.Browser]:
    with chromium.Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(request, rendered, tmp_path) -> Path:
    name = request.param
    if name == "run":
        return write_run_report(add_student_report(write_run(tmp_path / "run")))
    if name == "judged":
        judged = calibrated_case(tmp_path / "judged", sealed=True)
        return write_reports(judged)["student"]
    return rendered(name).data / PAGES[name]


def assert_fits(browser: chromium.Browser, page: Path, width: int, dark: bool) -> None:
    """Fail where something is clipped, loaded or complained about."""
    browser.messages.clear()
    browser.requests.clear()
    browser.open(page, width=width, dark=dark)
    assert browser.value(WIDE) == 0
    assert browser.value(CLIPPED) == []
    browser.value(OPEN_ALL)
    assert browser.value(WIDE) == 0
    assert browser.value(CLIPPED) == []
    assert browser.messages == []
    assert browser.requests == [page.as_uri()]


@pytest.mark.parametrize("page", PAGES, indirect=True)
def test_page_fits_phone_and_desk_in_light_and_dark(browser, page):
    inks = set()
    for width in (390, 1280):
        for dark in (False, True):
            assert_fits(browser, page, width, dark)
            inks.add((dark, browser.value(INK), browser.value(SVG_INK)))
    # One look for light and one for dark, and the drawings change with the page.
    assert len(inks) == 2
    (_, ink_a, svg_a), (_, ink_b, svg_b) = inks
    assert ink_a != ink_b
    assert svg_a != svg_b


def test_profile_page_fits_and_prints(browser, rendered, tmp_path):
    page = tmp_path / "report.eu-gpai.html"
    page.write_text(profile_pages(rendered("hostile"))["html"])
    inks = set()
    for width in (390, 1280):
        for dark in (False, True):
            assert_fits(browser, page, width, dark)
            inks.add((dark, browser.value(INK)))
    assert len(inks) == 2
    browser.open(page, width=680, media="print")
    assert browser.value(WIDE) == 0
    assert browser.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("page", ["plain", "judged"], indirect=True)
def test_smallest_text_of_a_drawing_is_readable_on_a_phone(browser, page):
    browser.open(page, width=390)
    heights = browser.value(
        "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)"
    )
    # A line box of 9 px letters is about 10.5 px high.
    assert min(heights) >= 10


@pytest.mark.parametrize("page", ["hostile"], indirect=True)
def test_page_prints_with_its_numbers_open(browser, page):
    # 680 px: the width between the margins of a sheet
    browser.open(page, width=680, dark=True, media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    hidden = "[...document.querySelectorAll('details table')].filter(t => !t.checkVisibility())"
    assert browser.value(f"{hidden}.length") == 0
    pieces = "[...document.querySelectorAll('.measures data')].map(d => d.getClientRects().length)"
    assert set(browser.value(pieces)) == {1}, "a number is broken over two lines"
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") > 3


@pytest.mark.parametrize("page", ["plain"], indirect=True)
def test_screenshot_shows_ink_at_both_widths(browser, page, tmp_path):
    for width in (390, 1280):
        browser.open(page, width=width)
        picture = tmp_path / f"{width}.png"
        picture.write_bytes(browser.screenshot(full=False))
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000
