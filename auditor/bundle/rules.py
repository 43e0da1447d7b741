"""Rules that say which record lines of a sealed case are to be withheld.

``subject:NAME``, ``suite:NAME`` or ``suite:NAME@VERSION``, ``probe:ID``,
``record:SUBJECT/SUITE@VERSION#SEQ`` and ``text:REGEX``. A pattern is looked for in what came back
from the model: reply, raw response, error. What was asked is public in the case's suites, and
stays.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditor.canon import leaf_hash
from auditor.case import Case
from auditor.errors import CaseError, InputError
from auditor.stored import chained_lines

KINDS = ("subject", "suite", "probe", "record", "text")
_RECORD = re.compile(r"(?P<subject>[^/#]+)/(?P<suite>[^/#]+)#(?P<seq>0|[1-9][0-9]{0,8})")
_LONGEST_PATTERN = 1000
"""Characters."""
SECONDS = 10.0
"""For one pattern in one text: a pattern that backtracks without end is stopped."""
_NOT_ANSWERED = frozenset(
    (
        *("attempt", "outcome", "finish_reason", "prev", "seq", "salt", "repeat"),
        *("subject", "suite", "probe_id", "probe_digest", "request", "request_digest"),
        *("prompt_ids", "token_ids", "usage"),
    )
)
"""Fields of a record that say what was asked, of whom and in which order, or count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, as written."""

    kind: str
    value: str
    """After the colon."""

    def __str__(self) -> str:
        """Return it as it was written."""
        return f"{self.kind}:{self.value}"

    @property
    def public(self) -> str:
        """The rule as a redacted case states it: a pattern could hold what it hides."""
        return "text" if self.kind == "text" else str(self)


@dataclass(slots=True, kw_only=True)
class Selection:
    """The lines that rules name."""

    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    """File below data/ -> index -> leaf hash."""
    counts: list[int] = field(default_factory=list)
    """Lines that each rule names, in order; a line may be named by several."""
    failed: set[tuple[str, str, str, int]] = field(default_factory=set)
    """(subject, suite, probe, repeat) of the selected lines that hold no reply."""
    total: int = 0
    """Record lines of the case."""
    repeated: int = 0
    """Shown lines whose reply is, word for word, one that is withheld in another line."""


def parse_rule(text: str) -> Rule:
    """Return a rule.

    Raises:
        InputError: it is none, or its pattern is none.
    """
    kind, colon, value = text.partition(":")
    if kind not in KINDS or not colon or not value:
        raise InputError(
            f"{text!r} is no rule",
            hint="a rule is subject:NAME, suite:NAME, probe:ID, record:SUBJECT/SUITE@VERSION#SEQ "
            "or text:REGEX",
        )
    if kind == "record" and _RECORD.fullmatch(value) is None:
        raise InputError(
            f"{text!r} names no record line",
            hint="record:SUBJECT/SUITE@VERSION#SEQ, SEQ from 0: the field `seq` of the line",
        )
    if kind == "text":
        pattern(value)
    return Rule(kind=kind, value=value)


def pattern(text: str) -> Any:
    """Return a compiled pattern of the library ``regex``, whose searches can be given a time limit.

    Raises:
        InputError: it is no pattern, or longer than 1,000 characters.
    """
    import regex

    if len(text) > _LONGEST_PATTERN:
        raise InputError(
            f"a pattern of {len(text):,} characters",
            hint=f"a pattern has at most {_LONGEST_PATTERN:,}; give several rules",
        )
    try:
        return regex.compile(text)
    except regex.error as error:
        raise InputError(
            f"text:{text}: no regular expression ({error})", hint="a literal needs \\ before .*+?()"
        ) from error


def select(case: Case, files: Sequence[str], rules: Sequence[Rule]) -> Selection:
    """Return the lines of record files that the rules name.

    Raises:
        InputError: a rule names no line, or a pattern takes too long.
        CaseError: a record file is broken.
    """
    found = Selection(counts=[0] * len(rules))
    checks = [_matcher(rule) for rule in rules]
    withheld: set[str] = set()
    shown: Counter[str] = Counter()
    for name in files:
        for line, row in chained_lines(case.data / name):
            found.total += 1
            named = [number for number, check in enumerate(checks) if check(row)]
            for number in named:
                found.counts[number] += 1
            if not named:
                shown[row["text"]] += 1
                continue
            withheld.add(row["text"])
            found.lines.setdefault(name, {})[row["seq"]] = leaf_hash(line)
            if row["outcome"] == "error":
                found.failed.add((row["subject"], row["suite"], row["probe_id"], row["repeat"]))
    found.repeated = sum(shown[text] for text in withheld if text)
    for rule, count in zip(rules, found.counts, strict=True):
        if not count:
            raise InputError(f"{rule} names no record line", hint=_known(case, rule))
    return found


def _known(case: Case, rule: Rule) -> str:
    plan = case.read_json("plan.json")
    if rule.kind == "subject":
        return f"subjects: {', '.join(s['name'] for s in plan['subjects'])}"
    if rule.kind == "suite":
        return f"suites: {', '.join(_suite_id(s) for s in plan['suites'])}"
    if rule.kind == "text":
        return "it is looked for in replies, raw responses and errors; what was asked stays"
    return "ids and `seq` are in data/records"


def _suite_id(suite: Mapping[str, Any]) -> str:
    return f"{suite['name']}@{suite['version']}"


def _matcher(rule: Rule) -> Callable[[Mapping[str, Any]], bool]:
    """Return what says whether a record is named by a rule."""
    value = rule.value
    if rule.kind == "text":
        compiled = pattern(value)
        return lambda row: any(occurs(compiled, text) for text in answered_texts(row))
    named: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "subject": lambda row: bool(row["subject"] == value),
        "suite": lambda row: value in (row["suite"], row["suite"].partition("@")[0]),
        "probe": lambda row: bool(row["probe_id"] == value),
        "record": lambda row: value == f"{row['subject']}/{row['suite']}#{row['seq']}",
    }
    return named[rule.kind]


def occurs(compiled: Any, text: str) -> bool:
    """Return whether a pattern occurs in a text.

    Raises:
        InputError: the search takes longer than `SECONDS`.
    """
    try:
        return compiled.search(text, timeout=SECONDS) is not None
    except TimeoutError as error:
        raise InputError(
            f"text:{compiled.pattern}: the search takes longer than {SECONDS:g} s in one text",
            hint="a pattern without nested repetitions is fast: (a+)+ is a+",
        ) from error


def answered_texts(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield every string of a record that the model or its server gave; see `strings_of`."""
    for key, value in row.items():
        if key not in _NOT_ANSWERED:
            yield from strings_of(value)


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string in JSON values, those of JSON inside a string too; keys are none."""
    if isinstance(value, str):
        yield value
        yield from _inside(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from strings_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings_of(one)


def _inside(text: str) -> Iterator[str]:
    """Yield the strings of a response that is itself JSON: escapes could hide a match."""
    if text[:1] not in "[{":
        return
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(inner, (dict, list)):
        yield from strings_of(inner)


def single_record(value: str) -> tuple[str, int]:
    """Return (file below data/, index) of ``SUBJECT/SUITE@VERSION#SEQ``.

    Raises:
        CaseError: it names no line.
    """
    match = _RECORD.fullmatch(value)
    if match is None:
        raise CaseError(f"{value!r} names no record line", hint="SUBJECT/SUITE@VERSION#SEQ")
    return f"records/{match['subject']}/{match['suite']}.jsonl", int(match["seq"])
