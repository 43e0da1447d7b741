"""Model text is made visible and inert, in HTML and in Markdown."""

import unicodedata

import pytest
from case_content import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.escape import (
    _is_hidden,
    code_block,
    code_span,
    visible,
    visible_html,
    visible_markdown,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("a\u200bb", "a⟦U+200B⟧b"),
        ("\x1b[31m", "⟦U+001B⟧[31m"),
        ("nul\x00", "nul⟦U+0000⟧"),
        ("a\r\nb", "a⟦U+000D⟧\nb"),
        ("a\u2028b", "a⟦U+2028⟧b"),
        ("a\u00a0b", "a⟦U+00A0⟧b"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("half \ud800", "half ⟦U+D800⟧"),
        ("\ufffe", "⟦U+FFFE⟧"),
        # Our own notation cannot be forged: its opening bracket is escaped as well.
        ("⟦U+202E⟧", "⟦U+27E6⟧U+202E⟧"),
    ],
)
def test_hidden_character_is_shown_by_its_code_point(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand tab", "שלום", "你好", "é", "😀", "ก็"])
def test_readable_text_stays_as_it_is(text):
    assert visible(text) == text


def test_a_living_script_keeps_its_marks_and_a_pile_of_them_is_cut():
    assert visible("a\u0301\u0323") == "a\u0301\u0323"
    piled = visible("Z" + "\u0300" * 40)
    assert piled.count("\u0300") == 4
    assert piled.count("⟦U+0300⟧") == 36


@given(st.text())
def test_result_is_encodable_and_holds_no_control_or_format_character(text):
    shown = visible(text)
    shown.encode()
    assert {unicodedata.category(c) for c in shown if c not in "\n\t"} & {"Cc", "Cf", "Cs"} == set()


@given(st.text())
def test_two_different_texts_never_look_the_same(text):
    # visible() is injective: undoing it gives the text back.
    import re

    back = re.sub("⟦U\\+([0-9A-F]{4,6})⟧", lambda m: chr(int(m[1], 16)), visible(text))
    assert back == text


def test_html_sets_escapes_apart_and_escapes_markup():
    # "<" becomes an entity, the override an element, nothing else changes.
    assert visible_html("<b>\u202ex") == '&lt;b&gt;<span class="esc">U+202E</span>x'


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_opens_no_tag(text):
    shown = str(visible_html(text)).replace('<span class="esc">', "").replace("</span>", "")
    assert "<" not in shown
    assert ">" not in shown


def test_markdown_line_holds_no_markup_html_or_link():
    shown = visible_markdown("a|b *c* [d](http://e.org) <i> www.f.org\ng@h.i")
    assert shown == (r"a\|b \*c\* \[d\](http&#58;//e.org) &lt;i> www&#46;f.org g&#64;h.i")


def test_code_span_outlasts_backticks_and_keeps_a_table_whole():
    assert code_span("a`b|c") == r"``a`b\|c``"


def test_code_block_cannot_be_ended_by_its_text():
    lines = code_block(HOSTILE["markdown"]).split("\n")
    assert lines[0] == "````text"
    assert lines[-1] == "````"
    assert "````" not in "\n".join(lines[1:-1])


def test_the_quick_look_lets_nothing_through_that_the_slow_one_marks():
    # Every code point, and a mark that is one too many only in a row.
    for code in range(0x110000):
        char = chr(code)
        assert (visible(char) == char) == (not _is_hidden(char)), f"U+{code:04X}"
    assert visible("a" + "\u0301" * 5) != "a" + "\u0301" * 5
