"""What else tells of withheld replies: arrays computed from them, and files that quote them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from auditor.bundle.rules import Rule, Selection, occurs, pattern, strings_of
from auditor.case import Case
from auditor.errors import CaseError
from auditor.exchanges import log_owner
from auditor.watched import FILE as WATCH
from auditor.watched import watched_subject

OF_WEIGHTS = frozenset({"span", "weight_cka", "merge", "rederivation", "neurons", "transcript"})
"""Kinds of arrays that hold nothing of a single reply: of weights, of neurons over all positions,
or of texts that are no replies."""
OF_OWN_REPLIES = {
    "embeddings": "vectors of replies of",
    "own": "likelihoods under itself of replies of",
    "answers": "likely first tokens of replies of",
}
OF_ALL_REPLIES = "crossing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What is known of the withheld lines."""

    subjects: frozenset[str]
    """Whose replies are withheld."""
    reference: str
    numbers: frozenset[int]
    """Places of these subjects in the plan."""
    logs: frozenset[str] = frozenset()
    """Names of the exchange logs with servers that hold replies of these subjects."""
    watched: str | None = None
    """Of which subject the case holds a baseline for `auditor watch`."""


def hidden(case: Case, lines: Iterable[str]) -> Hidden:
    """Return whose replies are withheld, from the names of the record files that lack lines."""
    plan = case.read_json("plan.json")
    names = [subject["name"] for subject in plan["subjects"]]
    chosen = frozenset(PurePosixPath(name).parts[1] for name in lines)
    watched = watched_subject(plan)
    return Hidden(
        subjects=chosen,
        reference=names[0],
        numbers=frozenset(names.index(name) for name in chosen),
        logs=frozenset(
            log_owner(plan, subject["spec"])
            for subject in plan["subjects"]
            if subject["name"] in chosen
        ),
        watched=None if watched is None else watched["name"],
    )


def files_to_withhold(
    case: Case, names: Sequence[str], selection: Selection, rules: Sequence[Rule]
) -> dict[str, str]:
    """Return {file below data/: why} of the files that must go with the selected lines.

    Raises:
        CaseError: an array cannot be read.
    """
    told = hidden(case, selection.lines)
    found: dict[str, str] = {}
    for name in names:
        kind, _, rest = name.partition("/")
        if kind == "arrays":
            reason = _array_reason(case, name, told)
        elif kind == "marks" and rest:
            reason = _marks_reason(case, name, rules)
        elif name == WATCH and may_tell(name, told):
            # Some of its questions are those of the suites.
            reason = f"first words of replies of {told.watched}"
        elif kind == "exchanges":
            reason = _exchange_reason(case, name, told, rules)
        else:
            reason = None
        if reason is not None:
            found[name] = reason
    return found


def _array_reason(case: Case, name: str, told: Hidden) -> str | None:
    kind, subject = PurePosixPath(name).parts[1], PurePosixPath(name).stem
    if not may_tell(name, told):
        return None
    if kind in OF_OWN_REPLIES:
        return f"{OF_OWN_REPLIES[kind]} {subject}"
    if kind == OF_ALL_REPLIES:
        held = _authors(case, name) & told.numbers
        return "likelihoods and lengths of withheld replies" if held else None
    return f"values at the tokens of replies of {told.reference}"


def may_tell(name: str, told: Hidden) -> bool:
    """Say whether a file below data/ may tell of a withheld reply, as far as its name shows."""
    path = PurePosixPath(name)
    if name == WATCH:
        return told.watched in told.subjects
    if path.parts[0] == "exchanges" and path.parts[1] != _OF_MARKS:
        return path.stem in told.logs
    kind = path.parts[1] if path.parts[0] == "arrays" else None
    if kind in OF_OWN_REPLIES:
        return path.stem in told.subjects
    if kind in _OF_REFERENCE:
        return told.reference in told.subjects
    return kind not in OF_WEIGHTS and bool(told.subjects)


_OF_REFERENCE = frozenset({"agreement", "topk", "scores", "hidden"})
"""Of the reference's first replies, which every subject is given. An unknown kind is withheld."""


def _authors(case: Case, name: str) -> set[int]:
    try:
        rows = np.load(case.data / name, mmap_mode="r", allow_pickle=False)
        return set(np.unique(rows["author"]).tolist())
    except (ValueError, IndexError, OSError) as error:
        raise CaseError(f"{case.data / name} cannot be read: {error}") from error


def _exchange_reason(case: Case, name: str, told: Hidden, rules: Sequence[Rule]) -> str | None:
    """A log holds the raw bytes of every reply of a server, and goes whole."""
    path = PurePosixPath(name)
    if path.parts[1] == _OF_MARKS:
        return _marks_reason(case, f"marks/{path.stem}.json", rules)
    return f"what the server of {path.stem} answered" if may_tell(name, told) else None


_OF_MARKS = "marks"


def _marks_reason(case: Case, name: str, rules: Sequence[Rule]) -> str | None:
    subject = PurePosixPath(name).stem
    planned = case.read_json("plan.json").get("marks", [])
    suites = {str(one["suite"]).partition("@")[0] for one in planned if one["suspect"] == subject}
    content = case.read_json(name)
    tests: dict[str, Callable[[Rule], bool]] = {
        "subject": lambda rule: rule.value == subject,
        "suite": lambda rule: rule.value.partition("@")[0] in suites,
        # Its answers do not say to which probe they are.
        "probe": lambda rule: True,
        "record": lambda rule: False,
        "text": lambda rule: _in_strings(rule, content),
    }
    if any(tests[rule.kind](rule) for rule in rules):
        return f"answers of {subject} when it was asked for marks"
    return None


def _in_strings(rule: Rule, content: Any) -> bool:
    compiled = pattern(rule.value)
    return any(occurs(compiled, text) for text in strings_of(content))


def still_holding(case: Case, names: Sequence[str], rules: Sequence[Rule]) -> list[str]:
    """Return the files, but records, in which a pattern of the rules still occurs: public ones."""
    compiled = [pattern(rule.value) for rule in rules if rule.kind == "text"]
    return [
        name
        for name in names
        if name.endswith(_TEXT) and any(_occurs_in(case, name, one) for one in compiled)
    ]


_TEXT = (".json", ".jsonl", ".toml", ".md", ".html", ".txt")


def _occurs_in(case: Case, name: str, compiled: Any) -> bool:
    text = (case.data / name).read_text(encoding="utf-8", errors="replace")
    return any(occurs(compiled, line) for line in text.splitlines())
