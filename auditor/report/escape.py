"""Text of models made inert and visible: nothing a model wrote can hide, reorder or act.

Why: model text is hostile input. A bidi override can make a quotation read as its opposite, a
zero-width character can make two different replies look equal, an escape sequence can rewrite a
terminal. Such characters are shown as ``⟦U+202E⟧``; everything else is left as it was written.
"""

import json
import re
import unicodedata

from markupsafe import Markup, escape

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
# Invisible or nearly so, in categories that are otherwise shown: fillers, selectors, a blank.
# Also the opening bracket of our own notation, so that a model cannot write it itself.
_HIDDEN = frozenset(
    [
        *(0x27E6, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
_HIDDEN_CHARACTER = re.compile(f"[{''.join(map(chr, sorted(_HIDDEN)))}]")
_SHOWN = frozenset(" \n\t")
_MOST_MARKS = 4
"""Combining marks in a row that a living script needs; more would paint over other lines."""
_ESCAPED = re.compile("(⟦U\\+[0-9A-F]{4,6}⟧)")


def visible(text: str) -> str:
    """Return `text` with control, bidi and invisible characters as ``⟦U+XXXX⟧``.

    Newline, tab and the plain space stay. Lone surrogates, private and unassigned code points,
    unusual spaces and a fifth combining mark in a row are shown as well, so the result always
    encodes as UTF-8.
    """
    if _is_plain(text):
        return text
    parts: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        parts.append(f"⟦U+{ord(char):04X}⟧" if _is_hidden(char) or marks > _MOST_MARKS else char)
    return "".join(parts)


def _is_plain(text: str) -> bool:
    """Whether nothing of it needs a second look: printable is what no hidden category holds."""
    plain = text.replace("\n", "").replace("\t", "")
    if not plain.isprintable():
        return False
    return plain.isascii() or not (
        any(map(unicodedata.combining, plain)) or _HIDDEN_CHARACTER.search(plain)
    )


def _is_hidden(char: str) -> bool:
    if char in _SHOWN:
        return False
    return unicodedata.category(char) in _HIDDEN_CATEGORIES or ord(char) in _HIDDEN


def visible_json(text: str) -> str:
    """Return JSON text with hidden characters as JSON escapes: the value stays the same.

    Newlines between its parts stay. A terminal, or a log that is read in one, obeys a raw control
    character; a JSON reader gives it back.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_json_escape(char) if _is_hidden(char) else char for char in text)


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1]


def visible_html(text: str) -> Markup:
    """Return `text` as inert HTML; each escaped character is set apart by an element."""
    parts = _ESCAPED.split(visible(text))
    return Markup("").join(
        Markup('<span class="esc">{}</span>').format(part[1:-1]) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )


def visible_markdown(text: str) -> str:
    """Return `text` as one line of inert Markdown: no markup, no HTML, no link."""
    line = " ".join(visible(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    # A bare address would become a link where "://" or "www." stays whole.
    line = line.replace("://", "&#58;//").replace("www.", "www&#46;")
    line = re.sub("(?i)(javascript):", r"\1&#58;", line)
    line = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)
    return _STARTS.sub(_unstarted, line)


# At the start of a line these begin a heading, a quotation or a list, or underline a title.
_STARTS = re.compile(r"^(?:[#>=]|[-+](?=[\s+-]|$)|\d+(?=[.)](?:\s|$)))")


def _unstarted(match: re.Match[str]) -> str:
    return match[0] + "\\" if match[0].isdigit() else "\\" + match[0]


def code_span(text: str) -> str:
    """Return `text` as a Markdown code span; a bar is escaped, since it would end a cell."""
    # GitHub takes a bar after two backslashes for the end of a cell: the text's own and ours.
    line = " ".join(_visible_code(text).replace("\\|", "\\⟦U+007C⟧").split()) or " "
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")


def code_block(text: str) -> str:
    """Return `text` as a fenced Markdown block that it cannot end."""
    shown = _visible_code(text)
    fence = "`" * max(3, _longest_run(shown) + 1)
    return f"{fence}text\n{shown}\n{fence}"


# What starts an element, should a program take the code for HTML, and what starts a script.
_STARTS_HTML = re.compile(r"<(?=\s*[A-Za-z/!?])|(?<=javascript):", re.IGNORECASE)


def _visible_code(text: str) -> str:
    """Return `visible` text for a place where nothing can be escaped by markup."""
    return _STARTS_HTML.sub(lambda match: f"⟦U+{ord(match[0]):04X}⟧", visible(text))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
