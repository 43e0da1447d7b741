"""What the sentences of a model card claim of where the model comes from.

A sentence that is passed over costs a claim; one that is read wrongly accuses. So only plain
statements count.
"""

import re
from collections.abc import Iterator

from auditor.registry.claim import Claim, Kind, quoted

HUB = re.compile(r"https?://huggingface\.co/([\w.-]+/[\w.-]+)")
SOURCE = "README.md, text"
_FENCED = re.compile(r"```.*?(?:```|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK = re.compile(r"\[([^\]\n]{1,200})\]\(([^)\s]{1,500})[^)\n]{0,200}\)")
_CITED = re.compile(r"^[ \t]*>", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t].*$", re.MULTILINE)
# Lines of one paragraph are one text: "Unlike models that were" may stand on the line before.
_BLOCK = re.compile(r"\n\s*\n|\n(?=[ \t]*(?:[-+*#][ \t#]|\||\d{1,3}[.)][ \t]))")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NAME = r"(?:the\s+|an?\s+)?(?P<name>[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?)"
_NEGATED = re.compile(
    r"\b(?:not|never|no|nor|neither|cannot|without|unlike|if|would|could|might|than"
    r"|instead of|rather than|compared (?:to|with)|avoid(?:s|ed|ing)?)\b|n't\b",
    re.IGNORECASE,
)
_TEXT: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        "quantised_from",
        re.compile(rf"\bquanti[sz](?:ed|ation)\b(?:\s+\w+){{0,4}}?\s+(?:from|of)\s+{_NAME}", re.I),
    ),
    (
        "teachers",
        re.compile(rf"\bdistill?(?:ed|ation)\b(?:\s+\w+){{0,3}}?\s+(?:from|of)\s+{_NAME}", re.I),
    ),
    ("teachers", re.compile(rf"\bteacher(?:\s+model)?(?:\s+is|\s+was|\s*:)\s+{_NAME}", re.I)),
    (
        "base_model",
        re.compile(rf"\bfine-?\s?tuned?\b(?:\s+\w+){{0,4}}?\s+(?:from|of)\s+{_NAME}", re.I),
    ),
)
_WHOLLY = r"(?:(?:entirely|fully|completely|wholly)\s+)?"
_TRAINED = rf"{_WHOLLY}(?:pre-?)?trained\s+"
_FROM = rf"{_WHOLLY}from[ -]scratch\b"
_IS = r"(?:is|was|has\s+been)\s+"
_OWN = r"(?:this|our)\s+(?:(?:language|\d[\w.]*)\s+){0,2}(?:model|checkpoint|network|LLM)"
_SCRATCH = re.compile(
    r"[\W\d_]*(?:"
    rf"(?i:{_OWN}\s+{_IS}{_TRAINED}{_FROM})"
    rf"|(?i:we\s+(?:have\s+)?{_TRAINED}(?:{_OWN}|the\s+model)\s+{_FROM})"
    # "It" may be the model of the sentence before: "by Meta" says so.
    rf"|(?i:(?:it|the\s+model)\s+{_IS}{_TRAINED}{_FROM})(?!\s+by\s+[A-Z])"
    # "Trained from scratch, BERT ..." and "Trained from scratch models ..." are of others.
    rf"|(?=[A-Z])(?i:{_TRAINED}{_FROM})(?!\s+by\s+[A-Z])"
    r"(?=\s*(?:[.!:(]|$)|\s+(?:on|with|using|for|in|over|at|as|by)\s)[^,;]*$"
    r")"
)
_ABOUT_IT = re.compile(
    rf"[\W\d_]*{_OWN}\s+{_IS}(?:an?\s+|the\s+)?(?:(?:\d+-?bit|int\d|GGUF|GPTQ|AWQ|fully)\s+){{0,2}}",
    re.IGNORECASE,
)
_LIMITED = re.compile(
    r"\b(?:but|except|apart from|other than|initiali[sz]ed|start(?:s|ed|ing)? from|earlier"
    r"|previous|no longer)\b|\?\W*$",
    re.IGNORECASE,
)


def prose(text: str) -> Iterator[Claim]:
    """Yield the claims of the text of a card, without its front matter."""
    for sentence in _sentences(text):
        scratch = _SCRATCH.match(sentence)
        if scratch is not None and not _LIMITED.search(sentence):
            yield quoted("from_scratch", sentence, SOURCE)
        for kind, pattern in _TEXT:
            match = pattern.search(sentence)
            if match is None or _NEGATED.search(sentence[: match.start()]):
                continue
            name = match["name"].rstrip(".-")
            if _is_name(name):
                relation = {"quantised_from": "quantized", "base_model": "finetune"}.get(kind)
                plain = _is_plain(sentence, match.start())
                yield quoted(kind, sentence, SOURCE, target=name, relation=relation, plain=plain)


def _is_plain(sentence: str, start: int) -> bool:
    """Whether what is said from `start` on is of this model, for certain."""
    if _LIMITED.search(sentence):
        return False
    if _ABOUT_IT.fullmatch(sentence[:start]):
        return True
    # "Quantised from X." has no subject; "Quantised from X, Y is ..." has another.
    return re.fullmatch(r"[\W\d_]*", sentence[:start]) is not None and "," not in sentence


def _sentences(text: str) -> Iterator[str]:
    plain = _LINK.sub(_link_name, _FENCED.sub(" ", text))
    lines = _HEADING.sub(r"\g<0>\n", _CITED.sub("", plain))
    for block in _BLOCK.split(lines):
        yield from _SENTENCE.split(block.replace("`", "").replace("*", ""))


def _link_name(match: re.Match[str]) -> str:
    hub = HUB.match(match[2])
    return match[1] if hub is None else hub[1]


def _is_name(word: str) -> bool:
    """Whether a word looks like the name of a model: "distilled from larger models" names none."""
    return any(char.isdigit() or char.isupper() or char == "/" for char in word)
