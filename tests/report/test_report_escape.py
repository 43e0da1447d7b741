"""Model text is made visible and inert, in HTML and in Markdown."""

import json
import unicodedata

import pytest
from case_content import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from auditor.report.escape import (
    _is_hidden,
    code_block,
    code_span,
    visible,
    visible_html,
    visible_json,
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
    assert code_span(r"a\|b") == r"`a\⟦U+007C⟧b`"


def test_code_block_cannot_be_ended_by_its_text():
    lines = code_block(HOSTILE["markdown"]).split("\n")
    assert lines[0] == "````text"
    assert lines[-1] == "````"
    assert "````" not in "\n".join(lines[1:-1])


def test_code_holds_no_start_of_an_element_or_a_script():
    shown = code_block("<script>x</script> < b <\nimg 1 < 2 a<3 JavaScript:y")
    assert shown == (
        "```text\n⟦U+003C⟧script>x⟦U+003C⟧/script> ⟦U+003C⟧ b ⟦U+003C⟧\nimg 1 < 2 a<3 "
        "JavaScript⟦U+003A⟧y\n```"
    )
    assert code_span("<b>") == "`⟦U+003C⟧b>`"
    assert visible_markdown("javascript:x") == "javascript&#58;x"


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def rendered_text(source: str) -> tuple[set[str], str]:
    """Return the kinds of all tokens of a Markdown text, and what a reader sees of it."""
    tokens = MARKDOWN.parse(source)
    inner = [child for token in tokens for child in token.children or []]
    shown = "".join(child.content for child in inner)
    return {token.type for token in [*tokens, *inner]}, shown


PIECES = st.sampled_from(
    ["#", "-", "+", "=", ">", "1.", "2)", "`", "```", "*", "_", "~", "|", "[a](b)", "![x](y)",
     "<b>", "<!--", "&amp;", "&#35;", "\\", " ", "\n", "\t", "x", "http://a.b", "$", "\u202e",
     "\x1b[1m"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_markdown_line_renders_as_the_text_and_as_nothing_else(text):
    kinds, shown = rendered_text(visible_markdown(text))
    # A backslash escape is a token of its own in some parsers, a part of the text in others.
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
    assert shown == " ".join(visible(text).split())


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_code_in_a_table_stays_in_its_cell(text):
    table = f"| a | b |\n|---|---|\n| {code_span(text)} | last |\n"
    kinds, shown = rendered_text(table)
    assert kinds <= {
        "table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close",
        "tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close", "inline", "text",
        "code_inline",
    }  # fmt: skip
    assert shown.endswith("last")
    assert "last" in [t.content for t in MARKDOWN.parse(table) if t.type == "inline"][3:]


@given(st.text(st.sampled_from('a"\\\n\x00\x1b\x7f\x9b\u202e\u200b\ud800⟦é😀\U000e0041')))
def test_json_keeps_its_value_and_holds_nothing_that_is_obeyed(text):
    shown = visible_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(shown) == {text: [text]}
    assert {unicodedata.category(c) for c in shown} & CONTROL == set()
    shown.encode()


def test_the_quick_look_lets_nothing_through_that_the_slow_one_marks():
    # Every code point, and a mark that is one too many only in a row.
    for code in range(0x110000):
        char = chr(code)
        assert (visible(char) == char) == (not _is_hidden(char)), f"U+{code:04X}"
    assert visible("a" + "\u0301" * 5) != "a" + "\u0301" * 5
