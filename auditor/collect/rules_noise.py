"""Texts that come from no language: what two models do with them is hard to learn elsewhere.

In experiments with toy models, random-letter prompts beside natural ones showed a 10 % dose of
imitation about twice as clearly as natural prompts alone.
"""
# ruff: noqa: RUF001, SIM905
# Look-alike letters are Greek, Turkish and Chinese on purpose; words read better as one text.

import unicodedata
from typing import Any

import numpy as np

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SYMBOLS = "!#$%&()*+,-./:;<=>?@[]^_{|}~"
_WORDS = (
    "river lantern seven under quickly marble although paint window seldom copper whisper "
    "between garden number velvet toward engine almost silver bread orbit patient nine "
    "thunder ladder gently because ocean button where cedar walking without pepper station "
    "yellow carry among winter table broken never candle forward sugar mountain if pencil "
    "slow harbour twelve beside feather market cloud question open iron during melody salt "
    "across kitchen early stone until island borrow green several drum listen paper north "
    "enough basket whose cold valley ever glass bridge soft again honey machine perhaps "
    "autumn circle wooden five needle bright only letter anchor far cotton moment rarely "
    "planet sharp owl those field quiet"
).split()
_ONSETS = ("b", "br", "ch", "d", "dr", "f", "gl", "k", "kl", "l", "m", "n", "p", "qu", "r", "s",
           "sh", "sk", "t", "thr", "v", "w", "y", "z")  # fmt: skip
_RIMES = ("a", "ab", "an", "ask", "e", "el", "emp", "i", "ib", "ing", "o", "olt", "on", "oo", "u",
          "ub", "um", "urn", "ax", "ith")  # fmt: skip
_SENTENCES = (
    "The tide had gone out and left the boats leaning on the sand.",
    "Am Abend legte sich der Nebel über die Wiesen hinter dem Dorf.",
    "Le boulanger avait laissé la porte ouverte à cause de la chaleur.",
    "Los niños guardaron las conchas en una caja pequeña de madera.",
    "Na feira, o vendedor de maçãs contava sempre a mesma história.",
    "Старый трамвай медленно поднимался на холм мимо аптеки.",
    "Η γάτα κοιμόταν πάνω στο ζεστό πεζούλι της αυλής.",
    "雨停了以后，孩子们在院子里放纸船。",
    "駅前の小さな喫茶店では、朝から古い歌が流れていた。",
    "아이들은 운동장에서 해가 질 때까지 연을 날렸다.",
    "Akşamüstü limanda balıkçılar ağlarını onarıyordu.",
    "Wieczorem ktoś zapalił lampę w oknie starego młyna.",
)
# First and last code point of blocks whose characters stand alone; 1 to 4 bytes each in UTF-8.
_BLOCKS = (
    (0x21, 0x7E), (0xC0, 0xFF), (0x391, 0x3A1), (0x410, 0x44F), (0x5D0, 0x5EA), (0x627, 0x63A),
    (0x905, 0x914), (0xE01, 0xE2E), (0x10D0, 0x10F0), (0x2190, 0x21FF), (0x2200, 0x22FF),
    (0x2500, 0x257F), (0x3041, 0x3096), (0x6728, 0x68FF), (0xAC00, 0xD7A3), (0x1D400, 0x1D433),
    (0x1F300, 0x1F320),
)  # fmt: skip
_CODE = ("){", "};", "->", "==", "[i]", "0x1f", "<<", "\\n", "null", "::", "//", "&&", "fn(", ");",
         "%s", "+=", "<div", "/>", "#!", "\"\"", "@", "~/", "..", "*p", "$_", "lambda", "elif",
         "end", "[]", "?:")  # fmt: skip


def _between(rng: np.random.RandomState, low: int, high: int) -> int:
    """Return an integer from low to high, both included."""
    return int(rng.randint(low, high + 1, dtype=np.int64))


def _pick(rng: np.random.RandomState, options: Any) -> Any:
    return options[_between(rng, 0, len(options) - 1)]


def _string(rng: np.random.RandomState, alphabet: str, low: int, high: int) -> str:
    return "".join(_pick(rng, alphabet) for _ in range(_between(rng, low, high)))


def _text(text: str) -> dict[str, Any]:
    # NFC: otherwise an editor or a tokenizer may change the text silently.
    return {"text": unicodedata.normalize("NFC", text).strip()}


def random_letters(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return uniformly drawn letters, in groups with spaces; each third one without spaces."""
    joint = "" if number % 3 == 2 else " "
    return _text(joint.join(_string(rng, _LETTERS, 2, 9) for _ in range(_between(rng, 8, 20))))


def random_words(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return common English words in no order, each third time with random capitals."""
    words = [_pick(rng, _WORDS) for _ in range(_between(rng, 10, 24))]
    if number % 3 == 2:
        words = [w.upper() if _between(rng, 0, 3) == 0 else w for w in words]
    return _text(" ".join(words))


def pseudowords(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return pronounceable words of no language, punctuated like a sentence."""
    words = []
    for _ in range(_between(rng, 8, 16)):
        syllables = _between(rng, 1, 3)
        words.append("".join(_pick(rng, _ONSETS) + _pick(rng, _RIMES) for _ in range(syllables)))
    cut = _between(rng, 2, len(words) - 2)
    words[cut] += ","
    return _text(" ".join(words).capitalize() + ("." if number % 2 else ""))


def mixed_symbols(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return letters, digits and punctuation of ASCII mixed; each third one punctuation only."""
    alphabet = (
        _SYMBOLS if number % 3 == 2 else _SYMBOLS + _LETTERS + _LETTERS.upper() + "0123456789"
    )
    return _text(" ".join(_string(rng, alphabet, 3, 14) for _ in range(_between(rng, 5, 10))))


def random_unicode(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return code points of many scripts: every length of a UTF-8 sequence, in random order."""
    length = _between(rng, 24, 60)
    blocks = [_pick(rng, _BLOCKS) for _ in range(length)]
    if number % 2:
        return _text("".join(chr(_between(rng, *block)) for block in blocks))
    return _text("".join(chr(_between(rng, *b)) + _pick(rng, ("", "", " ")) for b in blocks))


def shuffled_text(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return the characters of a real sentence in random order: right frequencies, no words."""
    letters = list(_SENTENCES[number % len(_SENTENCES)])
    order = rng.permutation(len(letters))
    return _text("".join(letters[i] for i in order))


def digits(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return random digits: one run, groups, decimals, or hexadecimal pairs, in turn."""
    style = number % 4
    if style == 0:
        return _text(_string(rng, "0123456789", 40, 90))
    if style == 1:
        return _text(" ".join(_string(rng, "0123456789", 1, 6) for _ in range(16)))
    if style == 2:
        pairs = (f"{_between(rng, 0, 999)}.{_between(rng, 0, 9999):04d}" for _ in range(12))
        return _text("; ".join(pairs))
    return _text(" ".join(_string(rng, "0123456789abcdef", 2, 2) for _ in range(28)))


def repeated_ngrams(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a short unit repeated many times, broken off inside a repetition."""
    style = number % 3
    if style == 0:
        unit = _string(rng, _LETTERS, 2, 4)
    elif style == 1:
        unit = " ".join(_pick(rng, _WORDS) for _ in range(_between(rng, 2, 3))) + " "
    else:
        unit = _string(rng, _SYMBOLS, 1, 3) + _string(rng, "0123456789", 1, 2) + " "
    repeats = _between(rng, 6, 18)
    return _text(unit * repeats + unit[: _between(rng, 1, len(unit) - 1)])


def code_scraps(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return tokens of programming languages that form no program, on one line or several."""
    lines = 1 + number % 3
    parts = (" ".join(_pick(rng, _CODE) for _ in range(_between(rng, 6, 12))) for _ in range(lines))
    return _text("\n".join(parts))


NOISE = {
    "random-letters": random_letters,
    "random-words": random_words,
    "pseudowords": pseudowords,
    "mixed-symbols": mixed_symbols,
    "random-unicode": random_unicode,
    "shuffled-text": shuffled_text,
    "digits": digits,
    "repeated-ngrams": repeated_ngrams,
    "code-scraps": code_scraps,
}
