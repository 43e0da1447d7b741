r"""Reading the answer out of a free reply to a checkable question.

An answer is a canonical string: two replies give the same answer exactly when their strings are
equal, and a reply is right when its string is that of the expected answer. What cannot be read is
None, which is not wrong: a model that talks past the question has made no error to share.

Where a reply marks its answer, only the text after the last mark counts. Marks are ``answer is``,
``answer:``, ``####`` and ``\boxed{...}``; a number is read from the clause that follows, without
its reasons. Rules by kind:

number  The last number of the text, in English notation: ``1,234.5``; groups may also be split by
        an apostrophe, a no-break or a thin space. ``3/4``, ``1 1/2``, ``½`` and ``\frac{3}{4}``
        are fractions, ``1.2e3`` is a power of ten; percent signs, currencies and units are
        ignored; any decimal digits are read. Not numbers: digits inside a word (``GPT-4``,
        ``H2O``), clock times, dates, versions, and powers such as ``10^3`` or ``10²``.
        Numbers that are equal give the same string: ``0.5`` = ``1/2`` = ``.50``.
exact   The expected text, if it occurs as whole words (ignoring case, spacing, emphasis and quotes)
        in the first or last line; else the first of these lines that is short, which is another
        answer; else None. Lists are equal with or without spaces after commas, or a last "and".
choice  The option that the text starts with; else the only option that it mentions; None where it
        mentions none or several. Options are matched as whole words without regard to case, but
        a single letter only as a capital: ``B``, ``(B)``, ``B.``; the article in ``A dog`` and
        the pronoun ``I`` are no options.
"""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

from auditor.types import Answer, Probe

_SHORT_WORDS = 6
_MARK = re.compile(
    r"\banswer(?:\s+is|\s*:|\*\*\s*:|:\*\*)\s*:?|####|\\boxed\s*\{",
    re.IGNORECASE,
)
_FRAC = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_GROUP = r"[,'\u2019\u00a0\u202f\u2009]"
_DIGITS = rf"\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d)|\d+"
_NO_NUMBERS = re.compile(
    r"""
    (?<!\d)\d++(?:[-./]\d++){2,}              # dates, versions
  | (?<!\d)\d++(?::\d++)+                     # times, ratios
  | (?<![\d.,])\d[\d.,]*+(?:\s?\^\s?|\*\*(?=\d)|\s\*\*\s(?=\d))[-{(]?\d+[})]?  # powers
  | (?<![\d.,])\d[\d.,]*+[\u00b2\u00b3\u00b9\u2070-\u2079]+              # 10²
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(
    rf"""
    (?<![\w.])(?<![^\W\d_]-)                  # not inside a word; not GPT-4
    (?P<sign>[-+])?
    (?:
        (?P<whole>\d+)[ ]+(?P<rest>\d+)/(?P<of>\d+)
      | (?P<over>{_DIGITS})[ ]?/[ ]?(?P<under>{_DIGITS})
      | (?P<digits>(?:{_DIGITS})(?:\.\d+)?|\.\d+)(?:[eE](?P<power>[-+]?\d{{1,2}}))?
    )
    (?!\d|\.\d)
    """,
    re.VERBOSE,
)
_CLAUSE = re.compile(r"[.;]\s|,\s+(?=[^\W\d])|\b(?:because|since)\b")
_WORD_AFTER = {
    "A": r"(?![ \t]+(?!(?:is|was|because|since|and|or)\b)[a-z])",
    "I": r"(?![ \t]+[a-z])",
}
_AND = re.compile(r",?\s+and\s+")
_EMPHASIS = re.compile(r"[*_`\"\u201c\u201d\u2018\u00ab\u00bb]")


def given_answer(probe: Probe, text: str) -> str | None:
    """Return the answer that a reply gives, canonical, or None where it cannot be read.

    None also for a probe without an expected answer and for an empty reply.
    """
    return None if probe.answer is None else _given(probe.answer, text)


@lru_cache(maxsize=1 << 16)
def _given(answer: Answer, text: str) -> str | None:
    # Each control's replies are read again for every suspect.
    marked = _after_mark(text)
    if answer.kind == "exact":
        return _exact(answer.value, marked or text)
    if answer.kind == "choice":
        return _chosen(answer.choices, marked or text)
    # "The answer is 7, because 3 + 4 = 7": the reasons are not the answer.
    return _last_number(_CLAUSE.split(marked)[0] if marked else text)


def is_correct(probe: Probe, text: str) -> bool | None:
    """Return whether a reply is right; None where it cannot be read or nothing is expected."""
    given = given_answer(probe, text)
    if given is None or probe.answer is None:
        return None
    return given == expected_answer(probe.answer)


def expected_answer(answer: Answer) -> str | None:
    """Return the canonical string of the right answer; None where its value is no such answer."""
    if answer.kind == "number":
        return _last_number(answer.value)
    return _normal(answer.value)


def _after_mark(text: str) -> str | None:
    """Return the rest of the line after the last mark that has anything after it, or None."""
    for mark in reversed(list(_MARK.finditer(text))):
        rest = text[mark.end() :]
        if mark[0].startswith("\\"):
            rest = _braced(rest)
        rest = rest.strip().split("\n")[0]
        if any(c.isalnum() for c in rest):
            return rest
    return None


def _braced(text: str) -> str:
    """Return the text up to the brace that closes one opened before it."""
    depth = 1
    for i, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if depth == 0:
            return text[:i]
    return text


def _last_number(text: str) -> str | None:
    text = _NO_NUMBERS.sub(" ", _plain_numerals(text))
    for match in reversed(list(_NUMBER.finditer(text))):
        value = _value(match)
        if value is not None:
            return _canonical(value)
    return None


def _plain_numerals(text: str) -> str:
    """Return the text with minus signs, LaTeX and vulgar fractions written in ASCII."""
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\u2044", "/")
    text = _FRAC.sub(r"\1/\2", text)
    # ``½`` alone; NFKC on the whole text would turn 10² into 102 and 2½ into 21/2.
    return "".join(
        " " + unicodedata.normalize("NFKC", c).replace("\u2044", "/")
        if unicodedata.decomposition(c).startswith("<fraction>")
        else c
        for c in text
    )


def _value(match: re.Match[str]) -> Fraction | None:
    """Return the number of a match; None where it divides by zero or has thousands of digits."""
    sign = -1 if match["sign"] == "-" else 1
    try:
        if match["whole"]:
            return sign * (_integer(match["whole"]) + _ratio(match["rest"], match["of"]))
        if match["over"]:
            return sign * _ratio(match["over"], match["under"])
        digits = Fraction(re.sub(_GROUP, "", match["digits"]))
        return sign * digits * Fraction(10) ** int(match["power"] or 0)
    except (ZeroDivisionError, ValueError):
        return None


def _integer(digits: str) -> int:
    return int(re.sub(_GROUP, "", digits))


def _ratio(over: str, under: str) -> Fraction:
    return Fraction(_integer(over), _integer(under))


def _canonical(value: Fraction) -> str:
    """Return an integer, a terminating decimal, or a fraction in lowest terms."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places == 0:
        return str(value)
    scaled = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{scaled[:-places]}.{scaled[-places:]}"


def _normal(text: str) -> str:
    """Return a text without case, emphasis, quotes, end punctuation and spacing differences."""
    folded = _EMPHASIS.sub("", unicodedata.normalize("NFKC", text)).casefold()
    spaced = re.sub(r"\s*,\s*", ", ", " ".join(folded.split()))
    return spaced.strip(" .,;:!?()[]{}$")


def _exact(value: str, text: str) -> str | None:
    lines = [line for line in map(_normal, text.split("\n")) if line]
    if not lines:
        return None
    ends = (lines[0], lines[-1])
    wanted = _normal(value)
    if ", " in wanted:
        ends = (_AND.sub(", ", ends[0]), _AND.sub(", ", ends[1]))
    if any(_mentions(wanted, line) for line in ends):
        return wanted
    return next((line for line in ends if len(line.split()) <= _SHORT_WORDS), None)


def _mentions(words: str, text: str) -> bool:
    return _whole(re.escape(words)).search(text) is not None


def _whole(pattern: str) -> re.Pattern[str]:
    # A hyphen, a comma before or after, or a colon would make it part of something longer:
    # 12:30 is not in 12:30:15, nor the list "1, 2" in "1, 2, 3".
    return re.compile(rf"(?<![\w:-])(?<!, ){pattern}(?![\w-]|:\d|, )")


def _chosen(choices: tuple[str, ...], text: str) -> str | None:
    plain = _EMPHASIS.sub("", text).strip()
    found = {choice: _places(choice, plain) for choice in choices}
    mentioned = [choice for choice in choices if found[choice]]
    starting = [choice for choice in mentioned if plain[: found[choice][0]].strip("([{$ ") == ""]
    # The longest wins: "no" must not shadow an option "no one".
    best = max(starting, key=len, default=None) or (mentioned[0] if len(mentioned) == 1 else None)
    return None if best is None else _normal(best)


def _places(choice: str, text: str) -> list[int]:
    """Return where an option is mentioned."""
    if len(choice) == 1 and choice.isalpha() and choice.isupper():
        # "A dog" and "I think" are words, "A)" and "A" at the end are options.
        word = _WORD_AFTER.get(choice, "")
        pattern = re.compile(rf"(?<![\w'-]){choice}(?![\w'-]){word}")
    else:
        pattern = re.compile(rf"(?<![\w-]){re.escape(choice)}(?![\w-])", re.IGNORECASE)
    return [match.start() for match in pattern.finditer(text)]
