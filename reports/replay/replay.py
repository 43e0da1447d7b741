#!/usr/bin/env python3
"""Recompute every statistic and the conclusion of a case from its stored data.

    python replay.py [FOLDER] [--json]

FOLDER holds ``data/`` (or is it); without it, the folder that this file lies in. Needs Python 3.11
and numpy, nothing else: no model, no network, nothing of the package that wrote the case. This is a
second implementation of the published formulas; agreement of the two is the check.

Each statistic of statistics.json is computed twice over: its value, its interval and the values of
the controls from the stored outputs; its place among the controls (z, rank p, predictive p) from
the values that are stored, once these are found right. The conclusion is drawn again from the
statistics. A number agrees within the tolerance that its statistic states.

Prints one line a statistic and one a suspect's conclusion:

    ok                the number was computed again and is the same
    differs           it is not; the line says what was stated and what was found
    not replayable    it cannot be computed from this folder; the line says why

Exit codes: 0 nothing differs, 2 the folder cannot be read, 5 something differs. What is not
replayable here is counted in the last line, and is no failure: rows may have been withheld.

Random draws come from numpy.random.RandomState, whose streams are frozen (NEP 19).
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import re
import sys
import tomllib
import unicodedata
from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from pathlib import Path
from statistics import NormalDist

if __name__ == "__main__":
    # Its processes share the cores; threads of the matrix products would wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

DEFAULT_TOLERANCE = {"relative": 1e-9, "absolute": 1e-12}
NULL_ROLES = ("independent", "sibling", "base")
TEMPERATURES = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)
SMALLEST_P = 1e-300
LN10 = math.log(10.0)


class UndefinedError(Exception):
    """A statistic has no value; `stated` where the case itself gives the reason."""

    def __init__(self, reason, stated=False):
        super().__init__(reason)
        self.stated = stated


class NotReplayableError(Exception):
    """Something that the computation needs is not in this folder."""


class UnreadableError(Exception):
    """The folder is no case, or a file of it is broken."""


_MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What values of the wrong kind raise; numpy's LinAlgError is a ValueError."""
MOST_DRAWS = 100_000
"""Draws of an interval; a case that states more would only wear the reader's machine out."""


# Distributions: what scipy.special would give. ----------------------------------------------------


def log_gamma(values):
    """Return ln Gamma of each value, of any shape."""
    known, place = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    return np.array([math.lgamma(x) for x in known.tolist()])[place].reshape(np.shape(values))


def incomplete_beta(a, b, x):
    """Return I_x(a, b), broadcast, by Lentz's continued fraction (Abramowitz & Stegun 26.5.8)."""
    a, b, x = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (a, b, x)))
    turned = x > (a + 1.0) / (a + b + 2.0)
    first, second = np.where(turned, b, a), np.where(turned, a, b)
    at = np.where(turned, 1.0 - x, x)
    with np.errstate(divide="ignore"):
        front = (
            log_gamma(first + second)
            - log_gamma(first)
            - log_gamma(second)
            + first * np.log(at)
            + second * np.log1p(-at)
        )
    value = np.where(at > 0, np.exp(front) * _beta_fraction(first, second, at) / first, 0.0)
    return np.where(turned, 1.0 - value, value)


def _beta_fraction(a, b, x):
    tiny = 1e-300
    c = np.ones(x.shape)
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / np.where(np.abs(d) < tiny, tiny, d)
    total = d.copy()
    for m in range(1, 5000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / np.where(np.abs(d) < tiny, tiny, d)
            c = 1.0 + term / c
            c = np.where(np.abs(c) < tiny, tiny, c)
            step = c * d
            total = total * step
        if (np.abs(step - 1.0) < 1e-15).all():
            break
    return total


def student_tail(t, freedom):
    """Return P(T >= t) for Student's t, broadcast; accurate in the upper tail."""
    t = np.asarray(t, dtype=np.float64)
    freedom = np.asarray(freedom, dtype=np.float64)
    # With x = v / (v + t^2) close to 1, 1 - x would cancel: the other side is computed instead.
    square = t * t
    inner = square < freedom
    a, b = np.where(inner, 0.5, freedom / 2), np.where(inner, freedom / 2, 0.5)
    part = 0.5 * incomplete_beta(a, b, np.where(inner, square, freedom) / (freedom + square))
    half = np.where(inner, 0.5 - part, part)
    return np.where(t >= 0, half, 1.0 - half)


@lru_cache(maxsize=4096)
def student_quantile(tail, freedom):
    """Return the t with P(T >= t) = tail, tail <= 1/2, by bisection to rounding."""
    low, high = 0.0, 1.0
    while float(student_tail(high, freedom)) > tail:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if float(student_tail(middle, freedom)) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def chi2_tail(x, freedom):
    """Return P(X >= x) of chi-square: the upper incomplete gamma (A & S 6.5.29 and 6.5.31)."""
    a, x = freedom / 2.0, x / 2.0
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        n = a
        while abs(term) > abs(total) * 1e-17:
            n += 1.0
            term *= x / n
            total += term
        return 1.0 - front * total
    b = x + 1.0 - a
    c, d = 1e300, 1.0 / b
    total = d
    for i in range(1, 10_000):
        an = -i * (i - a)
        b += 2.0
        d = 1.0 / (an * d + b)
        c = b + an / c
        total *= d * c
        if abs(d * c - 1.0) < 1e-16:
            break
    return front * total


def ranks(values):
    """Return the ranks of (n,) values from 1, equal ones at their mean rank."""
    values = np.asarray(values)
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2.0)[place.ravel()]


def spearman_p(first, second, sign):
    """Return the one-sided p of Spearman's rho by Student's t; sign 1: greater, -1: less."""
    table = np.column_stack([ranks(first), ranks(second)])
    rho = float(np.corrcoef(table, rowvar=False)[0, 1])
    freedom = len(table) - 2
    with np.errstate(divide="ignore"):
        t = rho * np.sqrt(max(0.0, np.divide(freedom, (rho + 1.0) * (1.0 - rho))))
    return float(student_tail(sign * t, freedom)) if math.isfinite(t) else float(sign * t < 0)


def canonical(value):
    """Return the RFC 8785 bytes of strings, lists and maps of strings."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def derived_seed(seed, name):
    """Return the 32-bit seed of a named stream."""
    return int.from_bytes(hashlib.sha256(canonical([str(seed), name])).digest()[:4], "big")


# The case. ----------------------------------------------------------------------------------------


class Probe:
    """One probe of a suite: what the statistics need of it."""

    def __init__(self, item, weight, language):
        self.id = item["id"]
        self.category = item["category"]
        self.language = item.get("language") or language
        self.answer = item.get("answer")
        self.weight = weight


class Case:
    """The stored data of a case, read once."""

    def __init__(self, data):
        self.data = data
        self.plan = self.json("plan.json")
        self.planned = self.plan["subjects"]
        self.subjects = self._standing()
        rows = self.json("subjects.json")["subjects"]
        self.refs = {s["name"]: s["ref"] for s in rows}
        self.server_limits = {s["name"]: s.get("server", {}).get("limits", []) for s in rows}
        self.probes = self._planned_probes()
        self.failed = self._failures()
        self.withheld = self._withheld_files()
        self._answered = {}
        self._arrays = {}
        self._parts = {}
        self._sides = {}
        self._crossings = {}
        self.gaps = {}
        """Mean divergence by probe of two subjects, by names and probes: both ways are one."""

    def _standing(self):
        """Return the planned subjects without the suspects that could not be loaded."""
        failed = set()
        if (self.data / "failed.json").is_file():
            failed = {row["name"] for row in self.json("failed.json")["suspects"]}
        return [subject for subject in self.planned if subject["name"] not in failed]

    @property
    def reference(self):
        """Name of the reference."""
        return self.subjects[0]["name"]

    def json(self, name):
        """Return the content of a JSON file of the data folder."""
        try:
            return json.loads((self.data / name).read_bytes())
        except (OSError, ValueError) as error:
            raise UnreadableError(f"{self.data / name} cannot be read: {error}") from error

    def array(self, kind, subject):
        """Return a stored array, or None where there is none."""
        key = (kind, subject)
        if f"arrays/{kind}/{subject}.npy" in self.withheld:
            raise NotReplayableError(f"arrays/{kind}/{subject}.npy is withheld")
        if key in self._arrays:
            return self._arrays[key]
        path = self.data / "arrays" / kind / f"{subject}.npy"
        try:
            found = np.load(path, "r", allow_pickle=False) if path.is_file() else None
        except ValueError as error:
            raise UnreadableError(f"{path} is no array: {error}") from error
        if kind != "embeddings":  # the largest: mapped while they are in use only
            self._arrays[key] = found
        return found

    def part(self, kind, subject, rows):
        """Return the rows of a stored array that are of the chosen probes; see `taken`."""
        key = (kind, subject, rows.tobytes())
        if key not in self._parts:
            self._parts[key] = taken(self.array(kind, subject), rows, len(self.probes))
        return self._parts[key]

    def crossing(self, scorer):
        """Return (A, P, N, G) log-likelihoods and (A, P, N) bytes, authors as in the plan.

        NaN and -1 where the scorer has no row; None for both without a file.
        """
        if scorer not in self._crossings:
            rows = self.array("crossing", scorer)
            self._crossings[scorer] = (None, None) if rows is None else self._crossing_table(rows)
        return self._crossings[scorer]

    def _crossing_table(self, rows):
        shape = (len(self.planned), len(self.probes), self.plan["repeats"])
        scored, length = np.full((*shape, len(TEMPERATURES)), np.nan), np.full(shape, -1.0)
        rows = rows[np.isin(rows["author"], np.arange(len(self.planned)))]
        cells = rows["author"], rows["probe"], rows["repeat"]
        scored[cells], length[cells] = rows["logprob"], rows["bytes"]
        return scored, length

    def side(self, name, rows):
        """Return a subject on the chosen probes: one object for all pairs that it is in."""
        key = (name, rows.tobytes())
        if key not in self._sides:
            self._sides[key] = Side(self, name, rows)
        return self._sides[key]

    def forget(self):
        """Drop what was read of the arrays and of all sides but the reference's."""
        self._parts.clear()
        self._crossings.clear()
        kept = {key: side for key, side in self._sides.items() if key[0] == self.reference}
        self._sides = kept
        for drawn in (_swapped_bits, _drawn_pattern, _drawn_reply, unexplained_replies):
            drawn.cache_clear()

    def missing(self, name):
        """Return {field: reason} of what a subject lacks."""
        return self.json(f"collected/{name}.json")["missing"]

    def _planned_probes(self):
        found = []
        for suite in self.plan["suites"]:
            known = self._suite(f"{suite['name']}@{suite['version']}")
            found += [known[name] for name in suite["probes"]]
        return found

    def _suite(self, name):
        folder = self.data / "probes" / name
        weight, language = 1.0, None
        if (folder / "suite.toml").is_file():
            fields = tomllib.loads((folder / "suite.toml").read_text(encoding="utf-8"))
            weight = float(fields["weight"])
            language = fields["languages"][0] if len(fields["languages"]) == 1 else None
        known = {}
        for path in sorted(folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8-sig").split("\n"):
                item = json.loads(line) if line.strip() else {}
                if "id" in item:
                    known[item["id"]] = Probe(item, weight, language)
        return known

    def _failures(self):
        """Return {(subject, suite, probe, repeat)} that have no reply; a withheld one may be."""
        path = self.data / "errors.jsonl"
        rows = _lines(path) if path.is_file() else []
        keys = ("subject", "suite", "probe_id", "repeat")
        # A row with an exchange is of an attempt to ask a server, which may have been repeated.
        return {tuple(row.get(key) for key in keys) for row in rows if "exchange" not in row}

    def _withheld_files(self):
        """Return the files that a redacted case leaves out whole; see data/redaction.json."""
        if not (self.data / "redaction.json").is_file():
            return frozenset()
        return frozenset(self.json("redaction.json")["files"])

    def take_replies(self, found):
        """Take {subject: what `answered` returns} that another process has read."""
        self._answered.update(found)

    def answered(self, name):
        """Return the replies of a subject, (P)(N), None where withheld, and the probes answered."""
        if name not in self._answered:
            self._answered[name] = self._read_replies(name)
        return self._answered[name]

    def _read_replies(self, name):
        repeats = self.plan["repeats"]
        texts = [[] for _ in self.probes]
        replies = [0] * len(self.probes)
        start = 0
        for suite in self.plan["suites"]:
            suite_id = f"{suite['name']}@{suite['version']}"
            rows = _lines(self.data / "records" / name / f"{suite_id}.jsonl")
            if len(rows) != len(suite["probes"]) * repeats:
                raise UnreadableError(f"{name} on {suite_id}: {len(rows)} records")
            for number, row in enumerate(rows):
                probe, repeat = divmod(number, repeats)
                identity = (name, suite_id, suite["probes"][probe], repeat)
                text, ok = _reply(row, identity, self.failed)
                texts[start + probe].append(text)
                if ok and replies[start + probe] == repeat:
                    replies[start + probe] += 1
            start += len(suite["probes"])
        kept = _kept_repeats(replies)
        return [t[:kept] for t in texts], frozenset(
            i for i, count in enumerate(replies) if count >= kept
        )


def _lines(path):
    try:
        with path.open("rb") as stream:
            return [json.loads(line) for line in stream if line.strip()]
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}") from error


def _reply(row, identity, failed):
    """Return the text of a record, None where it is withheld, and whether it is a reply."""
    if row.keys() == {"withheld"}:
        return None, identity not in failed
    _, _, probe, repeat = identity
    if (row["probe_id"], row["repeat"]) != (probe, repeat):
        raise UnreadableError(f"{identity}: the record is that of {row['probe_id']}")
    return row["text"], row["outcome"] != "error"


def _kept_repeats(replies):
    """Return the number of repeats, at least 1, that keeps the most replies in a full table."""
    best, kept = -1, 1
    for n in range(1, max(replies, default=1) + 1):
        total = n * sum(count >= n for count in replies)
        if total >= best:
            best, kept = total, n
    return kept


class Side:
    """One subject of a pair, on the pair's probes."""

    def __init__(self, case, name, rows):
        texts, _ = case.answered(name)
        self.name = name
        self._texts = [texts[i] for i in rows]
        self._case, self._rows, self._repeats = case, rows, len(texts[0]) if texts else 0

    # Opened when asked for: one that is withheld is missed by the statistics that need it alone.

    @property
    def embeddings(self):
        """(P, N, E) of the replies, read anew."""
        found = self._case.array("embeddings", self.name)
        if found is None:
            return None
        shape = (len(self._case.probes), self._case.plan["repeats"], -1)
        return found.reshape(shape)[self._rows, : self._repeats]

    @cached_property
    def hidden(self):
        """(P, D) final hidden states."""
        found = self._case.array("hidden", self.name)
        return None if found is None else found[self._rows]

    @property
    def topk(self):
        """The lists of likeliest tokens, position by position, or None."""
        return self._case.part("topk", self.name, self._rows)

    @property
    def answers(self):
        """The same for the first token of each reply."""
        return self._case.part("answers", self.name, self._rows)

    @cached_property
    def texts(self):
        """(P)(N) replies; NotReplayableError where one is withheld."""
        if any(None in replies for replies in self._texts):
            raise NotReplayableError(f"replies of {self.name} are withheld")
        return self._texts

    @cached_property
    def said_once(self):
        """(P, N) of all repeats: the reply is not one to another probe too."""
        probes = Counter(text for replies in self.texts for text in set(replies))
        once = np.ones((len(self.texts), self._case.plan["repeats"]), dtype=bool)
        for p, replies in enumerate(self.texts):
            once[p, : len(replies)] = [probes[text] == 1 for text in replies]
        return once

    @cached_property
    def codes(self):
        """(P, N, 100) int32: the first characters of the replies, -1 after their end."""
        heads = [text[:_HEAD] for replies in self.texts for text in replies]
        padded = "".join(head.ljust(_HEAD) for head in heads).encode("utf-32-le", "surrogatepass")
        found = np.frombuffer(padded, dtype="<i4").reshape(len(heads), _HEAD)
        ends = np.array([len(head) for head in heads], dtype=np.int64)
        found = np.where(np.arange(_HEAD) < ends[:, None], found, np.int32(-1))
        return found.reshape(len(self.texts), -1, _HEAD)

    @cached_property
    def given(self):
        """(P)(N) canonical answers read out of the replies, None where there is none."""
        probes = [self._case.probes[i] for i in self._rows]
        return [[given_answer(p, text) for text in own] for p, own in zip(probes, self.texts)]

    @cached_property
    def wrong(self):
        """(P)(N) the same where the answer is a wrong one, else None."""
        probes = [self._case.probes[i] for i in self._rows]
        rights = [None if probe.answer is None else right_answer(probe) for probe in probes]
        return [
            [None if one == right else one for one in own] for right, own in zip(rights, self.given)
        ]

    @cached_property
    def word_grams(self):
        """(P)(N) lists of word 3-grams."""
        return [[_word_grams(text) for text in replies] for replies in self.texts]


def taken(rows, index, total):
    """Return the rows of the chosen probes, renumbered and in their order."""
    if rows is None:
        return None
    ascending = not np.any(rows["probe"][1:] < rows["probe"][:-1])
    if ascending and np.array_equal(index, np.arange(total)):
        return rows
    place = np.full(total, -1, dtype=np.int64)
    place[index] = np.arange(len(index))
    kept = rows[place[rows["probe"]] >= 0].copy()
    kept["probe"] = place[kept["probe"]]
    return kept if ascending else kept[np.argsort(kept["probe"], kind="stable")]


class Pair:
    """Reference and suspect on the probes `rows` that both answered, with the suspect's pool."""

    def __init__(self, case, suspect, rows):
        self.case = case
        self.suspect_name = suspect
        self.rows = np.asarray(rows, dtype=np.int64)
        self.probes = [case.probes[i] for i in rows]
        self.ours = case.side(case.reference, self.rows)
        self.theirs = case.side(suspect, self.rows)
        self.why = self._reasons()
        self.pool = pool_of(case, suspect)

    def take(self, rows):
        """Return the pair on some of its probes."""
        return Pair(self.case, self.suspect_name, self.rows[np.asarray(rows, dtype=np.int64)])

    def _reasons(self):
        why = {}
        for name in dict.fromkeys((self.case.reference, self.suspect_name)):
            for field, reason in self.case.missing(name).items():
                text = f"{name}: {reason}"
                why[field] = f"{why[field]}; {text}" if field in why else text
        return why

    def positions_of(self, name):
        """Return the rows that compare the reference with a subject, position by position."""
        return self.case.part("agreement", name, self.rows)

    @property
    def positions(self):
        """The same of the suspect; None where the case says why there are none."""
        return None if "positions" in self.why else self.positions_of(self.suspect_name)

    @property
    def choices(self):
        """Rows at which both choices are known: full positions, else the suspect's lists."""
        ours, theirs = self.ours.topk, self.theirs.topk
        if self.positions is not None or ours is None or theirs is None:
            return self.positions
        own = (
            self.case.refs[name]["tokenizer_digest"] for name in (self.theirs.name, self.ours.name)
        )
        known = next(own) in (None, next(own))
        return theirs if known and np.array_equal(ours["probe"], theirs["probe"]) else None

    @property
    def own(self):
        """(P, N) log-probability of the suspect's replies under itself, or None."""
        name, unit = self.suspect_name, TEMPERATURES.index(1.0)
        if self.case.array("crossing", self.case.reference) is None:
            return None
        rows = self.case.array("own", name)
        if rows is not None:
            values = rows["logprob"]
        else:
            rows = self.case.array("crossing", name)
            if rows is None:
                return None
            place = next(i for i, s in enumerate(self.case.planned) if s["name"] == name)
            rows = rows[rows["author"] == place]
            values = rows["logprob"][:, unit]
        every = self.case_pair()
        length = Crossing(every, every.pool).bytes[0]
        found = np.full(length.shape, np.nan)
        at = (rows["probe"], rows["repeat"])
        fits = (rows["bytes"] > 0) & (rows["bytes"] == length[at])
        found[rows["probe"][fits], rows["repeat"][fits]] = values[fits]
        return found[self.rows]

    def case_pair(self):
        """Return the pair on every probe of the case, answered or not."""
        return Pair(self.case, self.suspect_name, range(len(self.case.probes)))

    def array(self, kind):
        """Return an array of the suspect that does not depend on probes."""
        return self.case.array(kind, self.suspect_name)

    def has(self, field):
        """Return whether a field is there on both sides."""
        if field == "texts":
            return True
        if field in ("embeddings", "hidden", "topk", "answers"):
            return getattr(self.ours, field) is not None and getattr(self.theirs, field) is not None
        if field in ("positions", "choices", "own"):
            return getattr(self, field) is not None
        if field == "pool":
            return bool(self.pool)
        if field == "crossing":
            return self.case.array("crossing", self.case.reference) is not None
        if field == "transcripts":
            return all(
                self.case.array("transcript", name) is not None
                for name in (self.case.reference, self.suspect_name)
            )
        return self.array(field) is not None

    def require(self, field):
        """Raise UndefinedError, with the reason that the case gives, where a field is missing."""
        if not self.has(field):
            field = "positions" if field == "choices" else field
            if field in self.why:
                raise UndefinedError(self.why[field], stated=True)
            raise UndefinedError(f"no {field}")
        if not self.probes:
            raise UndefinedError("no probe was answered by both")

    def present(self, field):
        """Return (P,) bool: both sides hold the probe."""
        count = len(self.probes)
        if field in ("positions", "choices"):
            return np.bincount(getattr(self, field)["probe"], minlength=count) > 0
        keep = np.ones(count, dtype=bool)
        for side in (self.ours, self.theirs):
            if field == "texts":
                keep &= np.array([len(replies) > 0 for replies in side._texts])
            elif field in ("topk", "answers"):
                keep &= np.bincount(getattr(side, field)["probe"], minlength=count) > 0
            elif field in ("embeddings", "hidden"):
                vectors = getattr(side, field)
                known = np.isfinite(vectors).all(axis=-1) & vectors.any(axis=-1)
                keep &= known.reshape(count, -1).all(axis=1)
        return keep


def pool_of(case, suspect):
    """Return the controls without a link, none of the suspect's family or weights."""
    own = next(s for s in case.subjects if s["name"] == suspect)
    return [
        s
        for s in case.subjects
        if s["role"] in NULL_ROLES
        and s["family"] != own["family"]
        and (s["digest"] is None or s["digest"] != own["digest"])
    ]


def load_pair(case, suspect):
    """Return the pair on all probes that both answered."""
    both = case.answered(case.reference)[1] & case.answered(suspect)[1]
    return Pair(case, suspect, sorted(both))


# Answers read out of replies. ---------------------------------------------------------------------

_MARK = re.compile(r"\banswer(?:\s+is|\s*:|\*\*\s*:|:\*\*)\s*:?|####|\\boxed\s*\{", re.IGNORECASE)
_FRAC = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_GROUP = r"[,'\u2019\u00a0\u202f\u2009]"
_DIGITS = rf"\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d)|\d+"
_NO_NUMBERS = re.compile(
    r"(?<!\d)\d++(?:[-./]\d++){2,}"
    r"|(?<!\d)\d++(?::\d++)+"
    r"|(?<![\d.,])\d[\d.,]*+(?:\s?\^\s?|\*\*(?=\d)|\s\*\*\s(?=\d))[-{(]?\d+[})]?"
    r"|(?<![\d.,])\d[\d.,]*+[\u00b2\u00b3\u00b9\u2070-\u2079]+"
)
_NUMBER = re.compile(
    r"(?<![\w.])(?<![^\W\d_]-)(?P<sign>[-+])?(?:"
    r"(?P<whole>\d+)[ ]+(?P<rest>\d+)/(?P<of>\d+)"
    rf"|(?P<over>{_DIGITS})[ ]?/[ ]?(?P<under>{_DIGITS})"
    rf"|(?P<digits>(?:{_DIGITS})(?:\.\d+)?|\.\d+)(?:[eE](?P<power>[-+]?\d{{1,2}}))?"
    r")(?!\d|\.\d)"
)
_CLAUSE = re.compile(r"[.;]\s|,\s+(?=[^\W\d])|\b(?:because|since)\b")
_EMPHASIS = re.compile(r"[*_`\"\u201c\u201d\u2018\u00ab\u00bb]")
_WORD_AFTER = {
    "A": r"(?![ \t]+(?!(?:is|was|because|since|and|or)\b)[a-z])",
    "I": r"(?![ \t]+[a-z])",
}


@cache
def _read_answer(kind, value, choices, text):
    marked = _after_mark(text)
    if kind == "exact":
        return _exact(value, marked or text)
    if kind == "choice":
        return _chosen(choices, marked or text)
    return _last_number(_CLAUSE.split(marked)[0] if marked else text)


def given_answer(probe, text):
    """Return the canonical answer of a reply; None where there is none to read."""
    answer = probe.answer
    if answer is None:
        return None
    choices = tuple(answer.get("choices", ()))
    return _read_answer(answer["kind"], answer["value"], choices, text)


def right_answer(probe):
    """Return the canonical expected answer."""
    return _expected_answer(probe.answer["kind"], probe.answer["value"])


@cache
def _expected_answer(kind, value):
    return _last_number(value) if kind == "number" else _normal(value)


def _after_mark(text):
    for mark in reversed(list(_MARK.finditer(text))):
        rest = text[mark.end() :]
        if mark[0].startswith("\\"):
            rest = _braced(rest)
        rest = rest.strip().split("\n")[0]
        if any(c.isalnum() for c in rest):
            return rest
    return None


def _braced(text):
    depth = 1
    for i, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if depth == 0:
            return text[:i]
    return text


def _last_number(text):
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\u2044", "/")
    text = _FRAC.sub(r"\1/\2", text)
    text = "".join(
        " " + unicodedata.normalize("NFKC", c).replace("\u2044", "/")
        if unicodedata.decomposition(c).startswith("<fraction>")
        else c
        for c in text
    )
    for match in reversed(list(_NUMBER.finditer(_NO_NUMBERS.sub(" ", text)))):
        try:
            return _decimal(_fraction(match))
        except (ZeroDivisionError, ValueError):
            continue
    return None


def _fraction(match):
    def integer(digits):
        return int(re.sub(_GROUP, "", digits))

    sign = -1 if match["sign"] == "-" else 1
    if match["whole"]:
        return sign * (
            integer(match["whole"]) + Fraction(integer(match["rest"]), integer(match["of"]))
        )
    if match["over"]:
        return sign * Fraction(integer(match["over"]), integer(match["under"]))
    return (
        sign
        * Fraction(re.sub(_GROUP, "", match["digits"]))
        * Fraction(10) ** int(match["power"] or 0)
    )


def _decimal(value):
    """Return an integer, a terminating decimal, or a fraction in lowest terms."""
    rest, places = value.denominator, 0
    for factor in (2, 5):
        count = 0
        while rest % factor == 0:
            rest, count = rest // factor, count + 1
        places = max(places, count)
    if rest != 1 or places == 0:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _normal(text):
    folded = _EMPHASIS.sub("", unicodedata.normalize("NFKC", text)).casefold()
    spaced = re.sub(r"\s*,\s*", ", ", " ".join(folded.split()))
    return spaced.strip(" .,;:!?()[]{}$")


def _exact(value, text):
    lines = [line for line in map(_normal, text.split("\n")) if line]
    if not lines:
        return None
    ends = [lines[0], lines[-1]]
    wanted = _normal(value)
    if ", " in wanted:
        ends = [re.sub(r",?\s+and\s+", ", ", line) for line in ends]
    whole = re.compile(rf"(?<![\w:-])(?<!, ){re.escape(wanted)}(?![\w-]|:\d|, )")
    if any(whole.search(line) for line in ends):
        return wanted
    return next((line for line in ends if len(line.split()) <= 6), None)


def _chosen(choices, text):
    plain = _EMPHASIS.sub("", text).strip()
    found = {choice: _option_places(choice, plain) for choice in choices}
    mentioned = [choice for choice in choices if found[choice]]
    starting = [c for c in mentioned if plain[: found[c][0]].strip("([{$ ") == ""]
    best = max(starting, key=len, default=None) or (mentioned[0] if len(mentioned) == 1 else None)
    return None if best is None else _normal(best)


def _option_places(choice, text):
    if len(choice) == 1 and choice.isalpha() and choice.isupper():
        pattern = re.compile(rf"(?<![\w'-]){choice}(?![\w'-]){_WORD_AFTER.get(choice, '')}")
    else:
        pattern = re.compile(rf"(?<![\w-]){re.escape(choice)}(?![\w-])", re.IGNORECASE)
    return [match.start() for match in pattern.finditer(text)]


# Measures. Each returns (P,) values, NaN where a probe does not count, or one number. -------------


def probe_means(probe, values, count):
    """Return (P,) means of positions by probe; NaN without any."""
    total = np.bincount(probe, weights=values, minlength=count)
    number = np.bincount(probe, minlength=count)
    return np.divide(total, number, out=np.full(count, np.nan), where=number > 0)


def probe_sums(probe, table, count):
    """Return (P, C) sums of (T, C) values by probe."""
    return np.stack(
        [np.bincount(probe, weights=column, minlength=count) for column in table.T], axis=1
    )


def of_positions(column):
    """Return the measure that averages a function of the position rows."""

    def value(pair):
        rows = pair.positions
        return probe_means(rows["probe"], np.asarray(column(rows), float), len(pair.probes))

    return value


def _divergence(name):
    def column(rows):
        if not np.isfinite(rows[name]).all():
            raise UndefinedError("infinite at some positions")
        return rows[name]

    return column


def reply_means(ours, theirs, score):
    """Return (P,) the mean score of matching (P)(N) values of replies, NaN scores left out."""
    found = []
    for both in zip(ours, theirs):
        scores = [score(a, b) for a, b in zip(*both)]
        kept = [s for s in scores if not math.isnan(s)]
        found.append(math.fsum(kept) / len(kept) if kept else math.nan)
    return np.array(found, dtype=np.float64)


def _checkable(pair):
    if all(probe.answer is None for probe in pair.probes):
        raise UndefinedError("no probe has a checkable answer")


def answer_shared(pair):
    """Return (P,): both replies give one answer."""
    _checkable(pair)

    def score(one, other):
        return math.nan if one is None and other is None else float(one == other)

    return reply_means(pair.ours.given, pair.theirs.given, score)


def answer_shared_error(pair):
    """Return (P,): both wrong replies give one answer."""
    _checkable(pair)

    def score(one, other):
        return math.nan if one is None or other is None else float(one == other)

    values = reply_means(pair.ours.wrong, pair.theirs.wrong, score)
    if np.isnan(values).all():
        raise UndefinedError("no common error")
    return values


def _pool_errors(pair):
    """Return {family: [wrong answers on the pair's probes of each control]}."""
    families = {}
    for control in pair.pool:
        own = pair.case.side(control["name"], pair.rows).wrong
        families.setdefault(control["family"], []).append(own)
    return families


def _adjusted_parts(pair):
    """Return (P, 6) sums over the repeats of each probe, as shares of the repeats.

    Both wrong, with one answer, expected of the controls, left open by them; the controls' wrong
    replies where the reference is wrong, and those with its answer.
    """
    families = _pool_errors(pair).values()
    parts = np.zeros((len(pair.probes), 6))
    both = zip(pair.ours.wrong, pair.theirs.wrong)
    for i, (probe, answers) in enumerate(zip(pair.probes, both)):
        pairs = list(zip(*answers))
        if probe.answer is None or not pairs:
            continue
        errors = _usual_errors([[model[i] for model in models] for models in families])
        wrong = sum(errors.values())
        for ours, theirs in pairs:
            if ours is None:
                continue
            own = errors.get(ours, 0.0)
            parts[i, 4:] += wrong, own
            if theirs is not None:
                parts[i, :4] += 1.0, ours == theirs, own / (wrong + 1.0), 1.0 / (wrong + 1.0)
        parts[i] /= len(pairs)
    return parts


def _usual_errors(families):
    """Return {wrong answer: how many control families give it}, models and repeats as shares."""
    errors = defaultdict(float)
    for models in families:
        for answers in models:
            for answer in answers:
                if answer is not None:
                    errors[answer] += 1.0 / (len(models) * len(answers))
    return errors


def answer_adjusted_subsets(pair, chosen):
    """Return (B,) the agreement on wrong answers beyond that of the controls."""
    _checkable(pair)
    parts = chosen.astype(float) @ _adjusted_parts(pair)
    both, same, usual, left_open, wrong, repeated = parts.T
    if (both == 0).any() or (wrong == 0).any():
        raise UndefinedError("no common error, or none of the controls'")
    left = both - (usual + repeated / wrong * left_open)
    if (left <= 1e-9 * both).any():
        raise UndefinedError("every error of the controls is the reference's own")
    return 1.0 - (both - same) / left


def answer_adjusted_error(pair):
    """Return the same on all probes."""
    return float(answer_adjusted_subsets(pair, np.ones((1, len(pair.probes)), bool))[0])


_WORDS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_WORDS}]|[^\W{_WORDS}]+")


def text_ngram_overlap(pair):
    """Return (P,): Dice overlap of word 3-grams."""

    def score(one, other):
        total = len(one) + len(other)
        if not total or set(one).isdisjoint(other):
            return 0.0 if total else math.nan
        return 2.0 * sum((Counter(one) & Counter(other)).values()) / total

    return reply_means(pair.ours.word_grams, pair.theirs.word_grams, score)


def _word_grams(text):
    words = _WORD.findall(text.lower())
    return list(zip(words, words[1:], words[2:]))


def text_chrf(pair):
    """Return (P,): chrF2 (Popovic 2015), mean precision and recall over the orders both have."""
    ours, theirs = pair.ours.texts, pair.theirs.texts
    replies = [both for two in zip(ours, theirs) for both in zip(*two)]
    scores = iter(_chrf_scores(replies))
    return reply_means(ours, theirs, lambda *_: next(scores))


_CHRF_ORDERS = 6
_BLOCK_CHARACTERS, _BLOCK_PAIRS = 1 << 17, 1 << 10
"""Of a table of n-grams; a pair that is longer has one of its own."""


def _chrf_scores(replies):
    """Yield the score of each (reference, suspect) of replies; NaN where both are empty."""
    block, size = [], 0
    for both in replies:
        texts = ["".join(text.split()) for text in both]
        length = sum(map(len, texts))
        if block and (size + length > _BLOCK_CHARACTERS or len(block) == _BLOCK_PAIRS):
            yield from _block_scores(block)
            block, size = [], 0
        block.append(texts)
        size += length
    if block:
        yield from _block_scores(block)


def _block_scores(block):
    lengths = np.array([[len(text) for text in texts] for texts in block])  # (n, 2)
    grams = np.maximum(lengths[:, :, None] - np.arange(_CHRF_ORDERS), 0)  # (n, 2, orders)
    for (want, have), match in zip(grams.tolist(), _common_grams(block)):
        if not want[0] and not have[0]:
            yield math.nan
            continue
        orders = [(m / h, m / w) for m, h, w in zip(match, have, want) if h and w]
        precision, recall = (sum(part) for part in zip(*orders)) if orders else (0.0, 0.0)
        if precision + recall == 0:
            yield 0.0
            continue
        precision, recall = precision / len(orders), recall / len(orders)
        yield min(5.0 * precision * recall / (4.0 * precision + recall), 1.0)


def _common_grams(block):
    """Return (n)(orders): how many n-grams both texts of a pair have, counted with repeats."""
    texts = [text for both in block for text in both]
    letters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    known = np.unique(letters)
    bits, shift = len(known).bit_length(), (len(texts) - 1).bit_length()
    if _CHRF_ORDERS * bits + shift > 63:
        if len(block) == 1:
            return [_counted_grams(*block[0])]
        half = len(block) // 2
        return _common_grams(block[:half]) + _common_grams(block[half:])
    code = np.zeros(int(known[-1]) + 1 if len(known) else 1, dtype=np.int64)
    code[known] = np.arange(1, len(known) + 1)
    return _sorted_grams(code[letters], np.array([len(text) for text in texts]), bits)


def _counted_grams(ours, theirs):
    """The same of one pair that has too many different letters for numbers of 63 bits."""

    def grams(text, n):
        return Counter(text[i : i + n] for i in range(len(text) - n + 1))

    orders = range(1, _CHRF_ORDERS + 1)
    return [sum((grams(ours, n) & grams(theirs, n)).values()) for n in orders]


def _sorted_grams(letters, lengths, bits):
    """The same of texts laid end to end, letters as numbers from 1, pairs one after the other.

    A number holds the pair, 6 letters from a place on (0 after the end of the text), and the side;
    sorted, those that start with the same n letters stand together, for every n.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)  # 2 pair + side
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(letters))
    key = owner >> 1
    for k in range(_CHRF_ORDERS):
        key = (key << bits) | np.where(left > k, np.roll(letters, -k), 0)
    key = np.sort((key << 1) | (owner & 1))
    side, key = key & 1, key >> 1
    found = np.zeros((len(lengths) // 2, _CHRF_ORDERS), dtype=np.int64)
    for n in range(1, _CHRF_ORDERS + 1 if len(key) else 0):
        group = key >> bits * (_CHRF_ORDERS - n)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        theirs = np.add.reduceat(side, starts)
        match = np.minimum(theirs, np.diff(starts, append=len(group)) - theirs)
        group = group[starts]
        whole = group & ((1 << bits) - 1) > 0  # the n-th letter is one of the text
        pair = (group >> bits * n)[whole]
        found[:, n - 1] = np.bincount(pair, weights=match[whole], minlength=len(found))
    return found.tolist()


# Lists of likeliest tokens.


def divergence_gap(pair):
    """Return (P,): divergence to the nearest control less that to the reference."""
    return _gap(pair, "topk", _lists_of(pair, "topk"))


def first_token_gap(pair):
    """Return (P,): the same of the first token of each reply."""
    return _gap(pair, "answers", _first_tokens(pair))


def _lists_of(pair, kind):
    """Return the lists of the reference, of the suspect, and {control: lists} that there are."""
    found = {c["name"]: pair.case.part(kind, c["name"], pair.rows) for c in pair.pool}
    lists = {name: rows for name, rows in found.items() if rows is not None}
    return getattr(pair.ours, kind), getattr(pair.theirs, kind), lists


def _first_tokens(pair):
    """Return the same at the first tokens of the replies to probes that both sides list."""
    ours, theirs, lists = _lists_of(pair, "answers")
    common = np.intersect1d(ours["probe"], theirs["probe"])

    def cut(rows):
        kept = rows[np.isin(rows["probe"], common)]
        return kept[np.argsort(kept["probe"], kind="stable")]

    return cut(ours), cut(theirs), {name: cut(rows) for name, rows in lists.items()}


def _gap(pair, kind, listed):
    ours, theirs, lists = listed
    for rows in (ours, theirs):
        if not len(rows) or float(rows["tail"].mean()) > 0.5:
            raise UndefinedError("the stored tokens say too little")
    controls = [one for one in lists.items() if np.array_equal(one[1]["probe"], theirs["probe"])]
    if len(controls) < 3 or not np.array_equal(ours["probe"], theirs["probe"]):
        raise UndefinedError("fewer than 3 controls list tokens at these positions")

    def means(name, rows):
        key = (kind, frozenset((name, pair.suspect_name)), theirs["probe"].tobytes(), len(rows))
        key += (pair.rows.tobytes(),)
        if key not in pair.case.gaps:
            found = _least_divergence(rows, theirs)
            pair.case.gaps[key] = probe_means(theirs["probe"], found, len(pair.probes))
        return pair.case.gaps[key]

    near = min((means(*one) for one in controls), key=lambda v: math.fsum(v[~np.isnan(v)]))
    return near - means(pair.case.reference, ours)


def _least_divergence(a, b):
    """Return (T,) the smallest Jensen-Shannon divergence that two lists with tails allow."""
    p, q = np.exp(a["logprobs"].astype(float)), np.exp(b["logprobs"].astype(float))
    total = np.zeros(len(a))
    for start in range(0, len(a), 512):
        rows = slice(start, start + 512)
        same = a["ids"][rows][:, :, None] == b["ids"][rows][:, None, :]  # (t, k, k')
        # Few of the k k' cells are of one token: the others would add zeros.
        row, left, right = np.nonzero(same)
        shared = _js_term(p[rows][row, left], q[rows][row, right])
        only_a = np.where(same.any(axis=2), 0.0, p[rows]).sum(axis=1)
        only_b = np.where(same.any(axis=1), 0.0, q[rows]).sum(axis=1)
        s, t = a["tail"][rows], b["tail"][rows]
        rest = np.where(
            only_a * only_b <= s * t,
            _js_term(only_a + s, only_b + t),
            _js_term(only_a, t) + _js_term(s, only_b),
        )
        total[rows] = np.bincount(row, weights=shared, minlength=len(s)) + rest
    return np.clip(total, 0.0, math.log(2.0))


def _js_term(x, y):
    """Return x/2 ln(x/m) + y/2 ln(y/m), m the mean, without cancellation near x = y."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    middle = (x + y) / 2.0
    share = np.divide((x - y) / 2.0, middle, out=np.zeros_like(middle), where=middle > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(x > 0, x * np.log1p(share), 0.0)
        right = np.where(y > 0, y * np.log1p(-share), 0.0)
    return np.maximum((left + right) / 2.0, 0.0)


# Representations.


@lru_cache(maxsize=2)  # the reference's, which every pair has, and those of a suspect
def _unit_replies(side):
    rows = np.array(side.embeddings, dtype=np.float64)
    length = np.sqrt(np.einsum("pne,pne->pn", rows, rows))[:, :, None]
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


@lru_cache(maxsize=3)
def _probe_vectors(side):
    return _unit_replies(side).mean(axis=1)


def unit_replies(pair):
    """Return the reply embeddings of both sides, (P, N, E), of unit length."""
    return [_unit_replies(side) for side in (pair.ours, pair.theirs)]


def probe_vectors(pair):
    """Return one embedding a probe of both sides."""
    return [_probe_vectors(side) for side in (pair.ours, pair.theirs)]


def hidden_states(pair):
    """Return the hidden states of both sides in float64."""
    return [np.array(side.hidden, dtype=np.float64) for side in (pair.ours, pair.theirs)]


def embedding_cosine(pair):
    """Return (P,): mean cosine of matching replies."""
    x, y = unit_replies(pair)
    n = min(x.shape[1], y.shape[1])
    away = x[:, :n] - y[:, :n]
    away = np.einsum("pne,pne->pn", away, away)
    return np.clip(1.0 - away / 2.0, -1.0, 1.0).mean(axis=1)


def _hsic(x, y, weight):
    """Return (B,) unbiased HSIC (Song et al. 2012, eq. 5) of subsets, and its mean product.

    Rows of the Gram matrices, their diagonals 0, are made a block at a time.
    """
    trace, ones_k, ones_l, ones_kl = np.zeros((4, weight.shape[1]))
    for start in range(0, len(x), 256):
        rows = np.arange(start, min(start + 256, len(x)))
        k, other = x[rows] @ x.T, y[rows] @ y.T
        k[rows - start, rows] = other[rows - start, rows] = 0.0
        own, kw, lw = weight[rows], k @ weight, other @ weight
        trace += (own * ((k * other) @ weight)).sum(axis=0)
        ones_k += (own * kw).sum(axis=0)
        ones_l += (own * lw).sum(axis=0)
        ones_kl += (own * kw * lw).sum(axis=0)
    m = weight.sum(axis=0)
    both = ones_k * ones_l / ((m - 1) * (m - 2))
    value = (trace + both - 2 * ones_kl / (m - 2)) / (m * (m - 3))
    return value, trace / (m * (m - 1))


def cka(vectors):
    """Return (value, subsets) of debiased linear CKA of the vectors of a pair."""

    def subsets(pair, chosen):
        weight = chosen.astype(np.float64).T
        if (weight.sum(axis=0) < 4).any():
            raise UndefinedError("fewer than 4 probes")
        x, y = (rows - rows.mean(axis=0) for rows in vectors(pair))
        cross, _ = _hsic(x, y, weight)
        own = []
        for rows in (x, y):
            value, size = _hsic(rows, rows, weight)
            if (value <= 1e-12 * size).any():
                raise UndefinedError("one vector for all probes")
            own.append(value)
        return np.clip(cross / np.sqrt(own[0] * own[1]), -1.0, 1.0)

    return (lambda pair: float(subsets(pair, np.ones((1, len(pair.probes)), bool))[0])), subsets


def mutual_knn(vectors, k=10):
    """Return the measure of shared nearest neighbours by cosine, in float32 as stored."""

    def neighbours(x):
        unit = x.astype(np.float32)
        length = np.sqrt(np.square(unit).sum(axis=1, keepdims=True))
        unit = unit / np.maximum(length, np.float32(1e-30))
        found = []
        for start in range(0, len(unit), 512):
            similar = unit[start : start + 512] @ unit.T
            rows = np.arange(len(similar))
            similar[rows, rows + start] = -np.inf
            found.append(np.argsort(-similar, axis=1, kind="stable")[:, :k])
        return np.concatenate(found)

    def value(pair):
        if len(pair.probes) <= 2 * k:
            raise UndefinedError("too few probes")
        a, b = (neighbours(x) for x in vectors(pair))
        return (a[:, :, None] == b[:, None, :]).any(axis=2).mean(axis=1)

    return value


_KERNEL_CELLS = 1 << 20
"""Of the replies' kernel that are held at a time."""


def _kernel(a, b):
    """Return (P, Q): the Gaussian kernel of unit replies (P, N, E), (Q, M, E), averaged."""
    k = a.reshape(-1, a.shape[2]) @ b.reshape(-1, b.shape[2]).T
    np.minimum(k, 1.0, out=k)
    np.exp(np.subtract(k, 1.0, out=k), out=k)
    rows = k.reshape(len(a), a.shape[1], -1).sum(axis=1)
    return rows.reshape(len(a), len(b), b.shape[1]).sum(axis=2) / (a.shape[1] * b.shape[1])


def _kernel_sums(x, y, weight):
    """Return (B,) the sums of w_i w_j k(x_i, y_j) over all i != j, for (P, B) weights.

    The kernel of a side with itself is symmetric: what is right of the diagonal counts twice.
    """
    total, one = np.zeros(weight.shape[1]), x is y
    step = max(1, _KERNEL_CELLS // (len(y) * x.shape[1] * y.shape[1]))
    for start in range(0, len(x), step):
        a, first = x[start : start + step], start if one else 0
        k = _kernel(a, y[first:])
        if one:
            k[:, len(a) :] *= 2.0
        own = np.arange(len(a))
        k[own, own + start - first] = 0.0
        total += (weight[start : start + len(a)] * (k @ weight[first:])).sum(axis=0)
    return total


@lru_cache(maxsize=32)
def _own_kernel_sum(side):
    x = _unit_replies(side)
    return float(_kernel_sums(x, x, np.ones((len(x), 1)))[0])


def embedding_mmd(pair):
    """Return the squared discrepancy of the replies."""
    count = len(pair.probes)
    if count < 2:
        raise UndefinedError("1 probe")
    own = [_own_kernel_sum(side) for side in (pair.ours, pair.theirs)]
    both = float(_kernel_sums(*unit_replies(pair), np.ones((count, 1)))[0])
    return (math.fsum(own) - 2.0 * both) / (count * (count - 1))


def embedding_mmd_subsets(pair, chosen):
    """Return (B,) the same on subsets of the probes."""
    weight = chosen.astype(np.float64).T
    x, y = unit_replies(pair)
    total = _kernel_sums(x, x, weight) + _kernel_sums(y, y, weight)
    total -= 2.0 * _kernel_sums(x, y, weight)
    size = weight.sum(axis=0)
    return total / (size * (size - 1))


# Is it one and the same model?


_RELABELLINGS = 9999
_HEAD = 100
"""Characters of a reply that are compared."""

_MOST_PATTERNS = 1 << 12


@cache
def _swapped_bits(probe, repeats):
    # Kept for every subject as bits: a case may have thousands of probes.
    uniform = _stream(probe, "equality-mmd").random_sample((_RELABELLINGS, repeats))
    return np.packbits(uniform < 0.5, axis=1)


def _swaps(probe, repeats):
    """Return (B, repeats) int8, -1 where partners are swapped."""
    bits = np.unpackbits(_swapped_bits(probe, repeats), axis=1, count=repeats)
    return np.array([1, -1], dtype=np.int8)[bits]


@cache
def _sign_patterns(repeats):
    """Return (2 ** repeats, repeats): every way of swapping, by the number of its bits."""
    numbers = np.arange(1 << repeats)
    return 1 - 2 * (numbers[:, None] >> np.arange(repeats)[::-1] & 1)


@cache
def _drawn_pattern(probe, repeats):
    """Return (B,) the row of `_sign_patterns` that each draw takes."""
    bits = _swapped_bits(probe, repeats).astype(np.int64)
    number = bits @ (1 << 8 * np.arange(bits.shape[1])[::-1])
    return (number >> -repeats % 8).astype(np.uint16)


def _stream(probe, test):
    return np.random.RandomState(derived_seed(0, f"{test}/{probe}"))


def _permutation_p(observed, null):
    slack = 1e-9 * max(abs(observed), float(np.abs(null).max(initial=0.0)))
    return math.log10((1 + int((null >= observed - slack).sum())) / (1 + len(null)))


def _equal_characters(x, y, start, stop):
    """Return (b, n - start) of H of the Hamming kernel of paired rows of code points; H_ii = 0."""

    def equal(a, b):
        step = max(1, (1 << 18) // b.size)
        parts = [a[i : i + step, None] == b for i in range(0, len(a), step)]
        return np.concatenate([part.sum(axis=2) for part in parts])

    a, b, x, y = x[start:stop], y[start:stop], x[start:], y[start:]
    table = equal(a, x) + equal(b, y) - equal(a, y) - equal(b, x)
    table[np.arange(len(a)), np.arange(len(a))] = 0
    return table


def _swapped(x, y, signs):
    """Return the sum of H, and (B,) of it with partners swapped, a few rows of H at a time."""
    observed, null = 0.0, np.zeros(len(signs))
    # Whole numbers, which float32 holds exactly up to 2 ** 24; H is symmetric and at most 200.
    kind = np.float32 if 400 * len(x) < 1 << 24 else np.float64
    step = max(1, (1 << 20) // len(x))
    for start in range(0, len(x), 256):
        table = _equal_characters(x, y, start, start + 256)
        table[:, len(table) :] *= 2
        observed += float(table.sum())
        for first in range(0, len(signs), step):
            e = signs[first : first + step, start:].astype(kind)
            moved = (e @ table.T.astype(kind)).astype(float)
            null[first : first + step] += np.einsum("bi,bi->b", moved, e[:, : len(table)])
    return observed, null


def equality_mmd(pair):
    """Return log10 p that both sets of replies are one model's, by swapping partners."""
    _enough_probes(len(pair.probes))
    sides = (pair.ours.texts, pair.theirs.texts)
    repeats = min(len(replies) for side in sides for replies in side)
    if not repeats:
        raise UndefinedError("a probe has no reply")
    x, y = pair.ours.codes[:, :repeats], pair.theirs.codes[:, :repeats]
    names = [probe.id for probe in pair.probes]
    if repeats == 1:
        signs = np.concatenate([_swaps(name, 1) for name in names], axis=1)
        return _permutation_p(*_swapped(x[:, 0], y[:, 0], signs))
    if 1 << repeats <= _MOST_PATTERNS:
        return _permutation_p(*_swapped_patterns(names, x, y))
    observed, null = 0.0, np.zeros(_RELABELLINGS)
    for name, a, b in zip(names, x, y):
        own, swapped = _swapped(a, b, _swaps(name, repeats))
        observed += own
        null += swapped
    return _permutation_p(observed, null)


def _swapped_patterns(names, x, y):
    """Return what `_swapped` does, summed over the probes: few repeats, few patterns of signs.

    e' H e of all patterns is one product: of their e e' with the H of some probes.
    """
    repeats = x.shape[1]
    signs = _sign_patterns(repeats).astype(float)
    outer = (signs[:, :, None] * signs[:, None, :]).reshape(len(signs), -1)
    observed, null = 0.0, np.zeros(_RELABELLINGS)
    for start in range(0, len(x), 64):
        a, b = x[start : start + 64], y[start : start + 64]
        table = _equal_replies(a, b)
        observed += float(table.sum())
        sums = table.reshape(len(a), -1) @ outer.T
        for name, own in zip(names[start : start + 64], sums):
            null += own[_drawn_pattern(name, repeats)]
    return observed, null


def _equal_replies(x, y):
    """Return (P, N, N) of H of the Hamming kernel of (P, N, L) code points; H_ii = 0."""

    def equal(a, b):
        return (a[:, :, None] == b[:, None]).sum(axis=3)

    crossed = equal(x, y)
    table = equal(x, x) + equal(y, y) - crossed - crossed.transpose(0, 2, 1)
    own = np.arange(x.shape[1])
    table[:, own, own] = 0
    return table


def _enough_probes(count):
    if count < 8:
        raise UndefinedError("fewer than 8 probes")


@cache
def _drawn_reply(probe, count):
    """Return (B,) which of a probe's replies each draw takes for the suspect's."""
    drawn = _stream(probe, "equality-rank").randint(0, count, size=_RELABELLINGS)
    return drawn.astype(np.min_scalar_type(count))


def equality_rank(pair):
    """Return log10 p that the suspect's replies rank as the reference's own."""
    crossing = Crossing(pair, ())
    scores = crossing.logprob[0, :, :, :, TEMPERATURES.index(1.0)]  # (A, P, N)
    own = scores[1]
    own = own[:, np.isfinite(own).any(axis=0)]
    if not own.size:
        raise UndefinedError("the reference did not score its own replies")
    others = own[:, 1:] if own.shape[1] > 1 else own
    rows = np.concatenate([scores[0, :, :1], others], axis=1)
    whole = np.flatnonzero(np.isfinite(rows).all(axis=1))
    _enough_probes(len(whole))
    rows = rows[whole]
    below = (rows[:, None, :] < rows[:, :, None]).sum(axis=2)
    equal = (rows[:, None, :] == rows[:, :, None]).sum(axis=2)
    cells = np.arange(1, rows.shape[1])
    shares = np.clip((cells - below[:, :, None]) / equal[:, :, None], 0.0, 1.0)
    drawn = np.zeros((_RELABELLINGS, rows.shape[1] - 1))
    for place, share in zip(whole, shares):
        drawn += share[_drawn_reply(pair.probes[place].id, len(share))]

    def discrepancy(cumulated):
        expected = len(whole) * cells / rows.shape[1]
        return np.square(cumulated - expected).sum(axis=-1) / (len(whole) * rows.shape[1])

    return _permutation_p(float(discrepancy(shares[:, 0].sum(axis=0))), discrepancy(drawn))


# Against the controls, at the same positions.


def _positioned_controls(pair, fewest):
    rows = pair.positions
    found = []
    for control in pair.pool:
        own = pair.positions_of(control["name"])
        same = own is not None and all(
            np.array_equal(own[name], rows[name]) for name in ("probe", "token")
        )
        if same:
            found.append((control["family"], own))
    if len(found) < fewest:
        raise UndefinedError(f"{len(found)} controls were run on the positions of the pair")
    return rows, found


def _idiosyncratic_counts(pair):
    if pair.positions is not None:
        rows, controls = _positioned_controls(pair, 3)
        votes = np.stack([own["argmax_b"] for _, own in controls])
        return _alone_and_followed(pair, rows["probe"], rows["argmax_a"], rows["argmax_b"], votes)
    pair.require("choices")
    ours, theirs, lists = _lists_of(pair, "topk")
    digest = pair.case.refs[pair.ours.name]["tokenizer_digest"]
    same = {n: r for n, r in lists.items() if pair.case.refs[n]["tokenizer_digest"] == digest}
    return _first_listed(pair, ours, theirs, same)


def _first_listed(pair, ours, theirs, lists):
    rows = [r for r in lists.values() if np.array_equal(r["probe"], theirs["probe"])]
    if len(rows) < 3 or not np.array_equal(ours["probe"], theirs["probe"]):
        raise UndefinedError(f"{len(rows)} controls list tokens at the positions of the pair")
    first = [r["ids"][:, 0] for r in (ours, theirs, *rows)]
    return _alone_and_followed(pair, theirs["probe"], first[0], first[1], np.stack(first[2:]))


def _alone_and_followed(pair, probe, ours, theirs, votes):
    shown = theirs >= 0
    if shown.sum() < 0.5 * len(shown):
        raise UndefinedError(f"the suspect shows a choice at {shown.sum()} of {len(shown)}")
    most = np.max([(votes == vote).sum(axis=0) for vote in votes], axis=0)
    alone = ((votes == ours).sum(axis=0) < most) & shown
    table = np.stack([alone, alone & (ours == theirs)], axis=1).astype(float)
    return probe_sums(probe, table, len(pair.probes))


def idiosyncratic_agreement(pair):
    """Return the share followed of the positions where the reference stands alone."""
    return _followed(_idiosyncratic_counts(pair))


def idiosyncratic_subsets(pair, chosen):
    """Return (B,) the same on subsets of the probes."""
    return _followed_subsets(_idiosyncratic_counts(pair), chosen)


def first_token_agreement(pair):
    """Return the same share at the first tokens of the replies."""
    return _followed(_first_listed(pair, *_first_tokens(pair)))


def first_token_subsets(pair, chosen):
    """Return (B,) the same on subsets of the probes."""
    return _followed_subsets(_first_listed(pair, *_first_tokens(pair)), chosen)


def _followed(counts):
    alone, followed = counts.sum(axis=0)
    if not alone:
        raise UndefinedError("the reference never stands alone")
    return float(followed / alone)


def _followed_subsets(counts, chosen):
    alone, followed = (chosen.astype(float) @ counts).T
    return np.divide(followed, alone, out=np.full(len(alone), np.nan), where=alone > 0)


def _divisions(families):
    """Return (D, K) bool: fixed ways of dividing control families in two halves."""
    names = sorted(set(families))
    half = len(names) // 2
    first = [frozenset(part) for part in itertools.combinations(names, half)]
    if len(first) > 20:
        random = np.random.RandomState(20260101)
        first = []
        for _ in range(10):
            part = frozenset(names[i] for i in random.permutation(len(names))[:half])
            first += [part, frozenset(names) - part]
    else:
        first = list(dict.fromkeys(first + [frozenset(names) - part for part in first]))
    return np.array([[family in part for family in families] for part in first])


def _residual_sums(pair):
    """Return (P, D, 6) number, sums, squares and products of both residuals."""
    rows, controls = _positioned_controls(pair, 4)
    families = [family for family, _ in controls]
    values = np.stack([rows["logp_a"], rows["logp_b"], *(own["logp_b"] for _, own in controls)])
    return _residual_moments(pair, values, families, rows["probe"], 1.0)


def _own_residual_sums(pair):
    """Return the same at the suspect's own replies, each weighing as its bytes."""
    crossing = Crossing(pair, pair.pool)
    length = crossing.bytes[0]
    counts = (length > 0) & pair.case.side(pair.suspect_name, pair.rows).said_once
    scored = crossing.logprob[:, 0, ..., TEMPERATURES.index(1.0)]
    own = np.concatenate([scored[:1], pair.own[None], scored[1:]])
    values = (own / np.where(counts, length, np.nan)).reshape(len(own), -1)
    if np.isfinite(values[:2]).all(axis=0).sum() < 8:
        raise UndefinedError("fewer than 8 replies of known likelihood")
    family = {control["name"]: control["family"] for control in pair.pool}
    families = [family[name] for name in crossing.scorers[1:]]
    probe = np.repeat(np.arange(len(length)), length.shape[1])
    weight = np.where(counts, length, 0.0).ravel()
    return _residual_moments(pair, values, families, probe, weight)


def own_residual(pair):
    """Return the correlation of what both add, on the suspect's own replies."""
    return _correlation(_own_residual_sums(pair))


def own_residual_subsets(pair, chosen):
    """Return (B,) the same on subsets of the probes."""
    return _pearson(np.einsum("bp,pdk->bdk", chosen.astype(float), _own_residual_sums(pair)))


def _residual_moments(pair, values, families, probe, weight):
    if len(set(families)) < 4:
        raise UndefinedError("fewer than 4 families")
    usable = np.isfinite(values).all(axis=0)
    values = np.where(usable, values, 0.0)
    # Rows are in the order of their probes, so a probe's are a stretch of them.
    probes, starts = np.unique(probe, return_index=True)
    divisions = _divisions(families)
    found = np.zeros((len(pair.probes), len(divisions), 6))
    for d, first in enumerate(divisions):
        x = values[0] - np.dot(first / first.sum(), values[2:])
        y = values[1] - np.dot(~first / (~first).sum(), values[2:])
        table = np.stack([usable.astype(float), x, y, x * x, y * y, x * y])
        table[1:] *= usable
        table *= weight
        found[probes, d] = np.add.reduceat(table, starts, axis=1).T
    return found


def _pearson(sums):
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    size = np.maximum(n, 1.0)
    var_x, var_y, cov = xx - x * x / size, yy - y * y / size, xy - x * y / size
    varies = (var_x > 1e-12 * xx) & (var_y > 1e-12 * yy)
    value = np.clip(cov / np.sqrt(np.where(varies, var_x * var_y, 1.0)), -1.0, 1.0)
    return np.where(varies, value, np.nan).mean(axis=-1)


def residual_correlation(pair):
    """Return the correlation of what both add to the controls' expectations."""
    return _correlation(_residual_sums(pair))


def _correlation(sums):
    value = float(_pearson(sums.sum(axis=0)[None])[0])
    if math.isnan(value):
        raise UndefinedError("a residual does not vary")
    return value


def residual_subsets(pair, chosen):
    """Return (B,) the same on subsets of the probes."""
    return _pearson(np.einsum("bp,pdk->bdk", chosen.astype(float), _residual_sums(pair)))


# Weights.


def neuron_tests(pair, first, second):
    """Return [(layer, neurons, p, share agreed)] of the one-sided Spearman tests."""
    rows = pair.array("neurons")
    found = []
    for layer in np.unique(rows["layer"]).tolist():
        part = rows[rows["layer"] == layer]
        if len(part) < 10:
            raise UndefinedError("a layer has fewer than 10 neurons")
        p = spearman_p(part[first], part[second], 1)
        p = min(max(p, SMALLEST_P), 1.0)
        found.append((layer, len(part), p, float(np.mean(part[first] == part[second]))))
    if not found:
        raise UndefinedError("no layer")
    return found


def neurons(first, second):
    """Return the measure that combines the layers' tests after Fisher, as log10 p."""

    def value(pair):
        tests = neuron_tests(pair, first, second)
        y = -math.fsum(math.log(p) for _, _, p, _ in tests)
        if y == 0.0:
            return 0.0
        terms = [k * math.log(y) - math.lgamma(k + 1) for k in range(len(tests))]
        top = max(terms)
        tail = top + math.log(math.fsum(math.exp(term - top) for term in terms)) - y
        return min(tail / LN10, 0.0)

    return value


def rederived_share(pair):
    """Return the largest share of elements that one transform gives."""
    shares = [
        int(row["elements_equal"]) / int(row["elements"])
        for row in pair.array("rederivation")
        if row["elements"] > 0
    ]
    if not shares:
        raise UndefinedError("nothing was tested")
    return max(shares)


def unembedding_span(pair):
    """Return the mean squared cosine of the principal angles."""
    cosines = np.asarray(pair.array("span"), dtype=np.float64)
    if not len(cosines):
        raise UndefinedError("no directions")
    return float(np.mean(cosines * cosines))


def weight_cka(pair):
    """Return the mean over the best one-to-one pairing of the layers."""
    table = np.asarray(pair.array("weight_cka"), dtype=np.float64)
    if not table.size:
        raise UndefinedError("no layer")
    both = table.mean(axis=2)
    chosen = best_assignment(both if both.shape[0] <= both.shape[1] else both.T)
    small = both if both.shape[0] <= both.shape[1] else both.T
    return float(np.clip(np.mean([small[i, j] for i, j in enumerate(chosen)]), -1.0, 1.0))


def best_assignment(gain):
    """Return the column of each row, n <= m, that maximises the sum (Kuhn 1955, Munkres 1957)."""
    n, m = gain.shape
    cost = -gain
    u, v = np.zeros(n + 1), np.zeros(m + 1)
    row_of = np.zeros(m + 1, dtype=int)  # 0: free; rows and columns are counted from 1
    for i in range(1, n + 1):
        row_of[0], column = i, 0
        least, way = np.full(m + 1, np.inf), np.zeros(m + 1, dtype=int)
        used = np.zeros(m + 1, dtype=bool)
        while True:
            used[column] = True
            i0 = row_of[column]
            free = np.flatnonzero(~used[1:]) + 1
            slack = cost[i0 - 1, free - 1] - u[i0] - v[free]
            better = slack < least[free]
            least[free[better]] = slack[better]
            way[free[better]] = column
            following = free[np.argmin(least[free])]
            delta = least[following]
            u[row_of[used]] += delta
            v[used] -= delta
            least[~used] -= delta
            column = following
            if row_of[column] == 0:
                break
        while column:
            row_of[column] = row_of[way[column]]
            column = way[column]
    return [int(np.flatnonzero(row_of == i)[-1]) - 1 for i in range(1, n + 1)]


def palimpsest(pair):
    """Return log10 p that losses ignore the committed order."""
    case = pair.case
    ours = case.array("transcript", case.reference)
    theirs = case.array("transcript", pair.suspect_name)
    if not np.array_equal(ours["text"], theirs["text"]):
        raise UndefinedError("different texts")
    families = {}
    for control in pair.pool:
        rows = case.array("transcript", control["name"])
        if rows is not None and np.array_equal(rows["text"], ours["text"]):
            families.setdefault(control["family"], []).append(rows)
    known = [theirs, *(rows for family in families.values() for rows in family)]
    usable = np.all([(r["bytes"] > 0) & np.isfinite(r["logprob"]) for r in known], axis=0)
    if usable.sum() < 64:
        raise UndefinedError("too few texts")

    def loss(rows):
        return -rows["logprob"][usable] / rows["bytes"][usable]

    losses = loss(theirs)
    usual = np.zeros(len(losses))
    if families:
        usual = np.mean(
            [np.mean([loss(r) for r in own], axis=0) for own in families.values()], axis=0
        )
    centred = usual - usual.mean()
    variance = float(centred @ centred)
    residual = losses - (float(centred @ losses) / variance if variance > 0 else 0.0) * centred
    spread = float(np.ptp(residual))
    if spread <= 1e-9 * float(np.ptp(losses)) or spread == 0.0:
        raise UndefinedError("nothing to correlate")
    return math.log10(min(max(spearman_p(ours["text"][usable], residual, -1), SMALLEST_P), 1.0))


# A mixture of parents.


def _mixture_groups(pair):
    """Return the rows of each layer and group, and the names of the parents."""
    rows = pair.array("merge")
    if not len(rows):
        raise UndefinedError("no block")
    parents = [i for i in rows["parents"][0].tolist() if i >= 0]
    if len(parents) < 2:
        raise UndefinedError("one parent")
    keys = sorted({(int(r["layer"]), int(r["group"])) for r in rows})
    groups = [rows[(rows["layer"] == layer) & (rows["group"] == group)] for layer, group in keys]
    return groups, len(parents) + 1


def _normal_equations(gram):
    """Return the factors of the reference and of each difference in suspect - reference."""
    table, wanted = gram[1:, 1:], gram[1:, 0]
    length = np.sqrt(np.diag(table))
    absent = length == 0
    length = np.where(absent, 1.0, length)
    scaled = table / np.outer(length, length)
    scaled[absent, absent] = 1.0
    try:
        found = np.linalg.solve(scaled, wanted / length)
    except np.linalg.LinAlgError:
        found = np.linalg.pinv(scaled, hermitian=True) @ (wanted / length)
    return found / length


def _well_posed(gram):
    length = np.sqrt(np.diag(gram[1:, 1:]))
    if not (length > 0).all():
        return False
    return float(np.linalg.cond(gram[1:, 1:] / np.outer(length, length))) <= 1e10


def merge_share(pair):
    """Return the reference's mean share in the mixture, weighted by elements."""
    groups, width = _mixture_groups(pair)
    sums = [(g["gram"][:, :width, :width].sum(axis=0), int(g["elements"].sum())) for g in groups]
    told = [(gram, size) for gram, size in sums if _well_posed(gram)]
    if not told:
        raise UndefinedError("parents cannot be told apart")
    share = scale = residual = length = 0.0
    total = sum(size for _, size in told)
    for gram, size in told:
        found = _normal_equations(gram)
        factor = 1.0 + found[0]
        share += size * (1.0 - (found[1:] / factor).sum()) / total
        scale += size * factor / total
        residual += max(0.0, gram[0, 0] - found @ gram[1:, 0])
        length += gram[0, 0] + 2 * gram[0, 1] + gram[1, 1]
    cosine = math.sqrt(max(0.0, 1.0 - residual / length)) if length > 0 else 0.0
    if cosine < 0.95 or (cosine < 0.999 and abs(scale - 1.0) > 0.05):
        raise UndefinedError("the candidates do not explain the suspect")
    return float(share)


def merge_interval(pair, value, seed, resamples):
    """Return Student's t times the bootstrap error over blocks, on either side of the share."""
    groups, width = _mixture_groups(pair)
    random = np.random.RandomState(seed)
    variances, freedom, total = [], [], 0
    for group in groups:
        grams = group["gram"][:, :width, :width]
        n = len(group)
        if not _well_posed(grams.sum(axis=0)):
            continue
        weight = int(group["elements"].sum())
        total += weight
        if n > 1:
            counts = random.multinomial(n, np.full(n, 1 / n), size=resamples)
            shares = []
            for row in counts:
                found = _normal_equations(np.einsum("n,nij->ij", row.astype(float), grams))
                shares.append(1.0 - (found[1:] / (1.0 + found[0])).sum())
            spread = float(np.std(shares, ddof=1)) * n / (n - 1)
            variances.append((weight * spread) ** 2)
            freedom.append(n - 1)
    variance = math.fsum(variances)
    error, degrees = 0.0, 1.0
    if variance:
        error = math.sqrt(variance) / total
        degrees = variance**2 / math.fsum(v * v / f for v, f in zip(variances, freedom))
    reach = student_quantile(0.025, degrees) * error + 1e-6
    return value - reach, value + reach


# Who finds whose replies likely. ------------------------------------------------------------------


class Crossing:
    """(S, A, P, N, G) log-likelihoods: scorers, then authors: suspect, reference, controls."""

    def __init__(self, pair, pool):
        case, pool = pair.case, [control["name"] for control in pool]
        names = [case.reference, *pool]
        self.scorers = [name for name in names if case.crossing(name)[0] is not None]
        self.authors = [pair.suspect_name, case.reference, *pool]
        number = {s["name"]: i for i, s in enumerate(case.planned)}
        cells = np.ix_([number[name] for name in self.authors], pair.rows)
        tables = [case.crossing(name) for name in self.scorers]
        self.logprob = np.stack([scored[cells] for scored, _ in tables])
        self.bytes = np.zeros(self.logprob.shape[1:4])
        for _, length in tables:
            self.bytes = np.where(length[cells] >= 0, length[cells], self.bytes)


def _divided(above, below):
    """Return above / below, NaN where below is not positive."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


class Replies:
    """What the controls leave unexplained of each scorer, reply by reply.

    ``z`` (A, P, N, G, F): suspect's replies first, then the controls'; scorer 0 is the reference.
    """

    def __init__(self, pair):
        for field in ("pool", "crossing"):
            pair.require(field)
        crossing = Crossing(pair, pair.pool)
        kept = [0, *range(2, len(crossing.authors))]  # not the reference's own
        names = [crossing.authors[i] for i in kept]
        values = np.moveaxis(crossing.logprob[:, kept], 0, -1).copy()  # (A, P, N, G, F)
        del crossing.logprob  # as large as the values
        values[~np.isfinite(values)] = np.nan
        values[crossing.bytes[kept] <= 0] = np.nan
        values[np.broadcast_to(np.isnan(values).any(axis=3, keepdims=True), values.shape)] = np.nan
        for author, name in enumerate(names):
            if author and name in crossing.scorers:
                values[author, ..., crossing.scorers.index(name)] = np.nan
        self._check(values)
        known = np.isfinite(values)
        number = known[..., 1:].sum(axis=-1)
        mean = np.where(known, values, 0.0)[..., 1:].sum(axis=-1) / np.maximum(number, 1)
        once = np.stack([pair.case.side(name, pair.rows).said_once for name in names])
        counts = known[..., 0, 0] & (number[..., 0] >= 2) & once
        self.z = np.where(known & counts[..., None, None], values - mean[..., None], 0.0)
        self.level = np.where(counts[..., None], mean, 0.0).sum(axis=2)  # (A, P, G)
        self.bytes = np.where(counts, crossing.bytes[kept], 0.0)  # (A, P, N)
        own = [[name == scorer for scorer in crossing.scorers[1:]] for name in names[1:]]
        self.own = np.array(own, dtype=bool).reshape(len(names) - 1, len(crossing.scorers) - 1)
        self.stratum = np.array([int(probe.language == "zxx") for probe in pair.probes])
        self.answered = (self.bytes[0] > 0).any(axis=1)

    @staticmethod
    def _check(values):
        heard = np.isfinite(values).any(axis=(1, 2, 3))  # (A, F)
        if not heard[0, 0]:
            raise UndefinedError("the reference scored no reply of the suspect")
        if heard[0, 1:].sum() < 3 or heard[1:, 0].sum() < 3:
            raise UndefinedError("fewer than 3 controls score, or were scored")


@lru_cache(maxsize=1)
def unexplained_replies(pair):
    """Return the `Replies` of a pair; its value, subsets and categories ask for the same."""
    return Replies(pair)


def _temperature_grid():
    """Return 1/T of 41 candidates, and the weights that give a value and a slope there."""
    nodes = 1.0 / np.array(TEMPERATURES)
    inner = [np.linspace(a, b, 8, endpoint=False) for a, b in itertools.pairwise(nodes)]
    inverse = np.concatenate([*inner, nodes[-1:]])
    value, slope = np.zeros((2, len(inverse), len(nodes)))
    for row, x in enumerate(inverse):
        near = np.argsort(np.abs(nodes - x), kind="stable")[:3]
        for i in near:
            a, b = nodes[near[near != i]]
            scale = (nodes[i] - a) * (nodes[i] - b)
            value[row, i] = (x - a) * (x - b) / scale
            slope[row, i] = (2.0 * x - a - b) / scale
    return inverse, value, slope


_INVERSE, _AT, _SLOPE = _temperature_grid()
_PLANNED = int(np.argmin(np.abs(_INVERSE - 1.0)))


def relative_temperatures(found, chosen):
    """Return (B,) the candidate at which the suspect's replies are scored."""
    natural = chosen & (found.stratum == 0)
    length = found.bytes.sum(axis=2)  # (A, P)
    enough = (natural @ length[0] > 0) & (natural @ length[1:].sum(axis=0) > 0)
    on = np.where(enough[:, None], natural, chosen).astype(float)
    own = _divided(on @ (found.level[0] @ _SLOPE.T), (on @ length[0])[:, None])
    pool = _divided(on @ (found.level[1:] @ _SLOPE[_PLANNED]).T, on @ length[1:].T)
    known = np.isfinite(own[:, _PLANNED]) & np.isfinite(pool).any(axis=1)
    low = np.where(np.isfinite(pool), pool, np.inf).min(axis=1)
    high = np.where(np.isfinite(pool), pool, -np.inf).max(axis=1)
    here = own[:, _PLANNED]
    usual = np.minimum(np.maximum(here, low), high)
    odd = known & (here != usual)
    distance = np.where(odd[:, None], np.abs(own - usual[:, None]), 0.0)
    return np.where(odd, np.argmin(distance, axis=1), _PLANNED)


class Sums:
    """Sums over the chosen replies, by subset and stratum: (B, S, A, ...)."""

    def __init__(self, found, chosen, candidates):
        inside = np.stack([chosen & (found.stratum == s) for s in (0, 1)], axis=1).astype(float)
        unit = TEMPERATURES.index(1.0)
        inverse = np.divide(1.0, found.bytes, out=np.zeros_like(found.bytes), where=found.bytes > 0)
        pool = found.z[1:, :, :, unit]
        parts = [self._both(pool, inverse[1:])]  # (P, A, 2, F)
        totals = np.einsum("bsp,p...->bs...", inside, parts[0], optimize=True)
        own = np.zeros((len(chosen), 2, 1, *totals.shape[3:]))
        for candidate in set(candidates.tolist()):
            rows = candidates == candidate
            at = np.einsum("g,pngf->pnf", _AT[candidate], found.z[0])[None]
            table = self._both(at, inverse[:1])
            own[rows] = np.einsum("bsp,p...->bs...", inside[rows], table, optimize=True)
        both = np.concatenate([own, totals], axis=2)
        self.total, self.squares = both[..., 0, :], both[..., 1, :]
        self.bytes = np.einsum("bsp,ap->bsa", inside, found.bytes.sum(axis=2), optimize=True)
        replies = (found.bytes > 0).sum(axis=2).astype(float)
        self.replies = np.einsum("bsp,ap->bsa", inside, replies, optimize=True)
        products = sum(np.einsum("pn,pnf,pnh->pfh", i, z, z) for i, z in zip(inverse[1:], pool))
        flat = products.reshape(len(products), -1)
        cross = inside.reshape(-1, inside.shape[2]) @ flat
        self.cross = cross.reshape(*inside.shape[:2], *products.shape[1:])

    @staticmethod
    def _both(z, inverse):
        squares = np.einsum("apn,apnf->paf", inverse, z * z)
        return np.stack([z.sum(axis=2).transpose(1, 0, 2), squares], axis=2)

    @property
    def means(self):
        """(B, S, A, F) nats a byte."""
        return _divided(self.total, self.bytes[..., None])

    def joined(self):
        """Make both strata one."""
        for name in ("total", "squares", "bytes", "replies", "cross"):
            setattr(self, name, getattr(self, name).sum(axis=1, keepdims=True))
        return self


def synthetic_weights(sums):
    """Return (B, K) weights, at least 0 and of sum 1, that predict the reference from controls."""
    unit = sums.cross[..., 0, 0]
    unit = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit > 0)
    joint = (sums.cross * unit[..., None, None]).sum(axis=1)
    return _least_squares_on_simplex(joint[:, 1:, 1:], joint[:, 1:, 0])


def _least_squares_on_simplex(gram, target):
    """Return (B, K) minimisers of w' gram w - 2 target' w by an active-set method.

    Starts from the best single control; adds the control of the steepest descent, solves the
    equality-constrained problem on the support, and steps back to the boundary where a weight
    would fall below 0 (Lawson & Hanson 1974, chapter 23, with the sum as a constraint).
    """
    return np.array([_one_simplex(g, t) for g, t in zip(gram, target)])


def _one_simplex(gram, target):
    k = len(target)
    largest = float(np.linalg.eigvalsh(gram)[-1])
    if not largest > 0:
        return np.full(k, 1.0 / k)
    gram, target = gram / largest, target / largest
    weights = np.zeros(k)
    weights[int(np.argmin(np.diag(gram) - 2.0 * target))] = 1.0
    support = weights > 0
    for _ in range(100 * k):
        slope = gram @ weights - target
        level = float(slope @ weights)
        gain = np.where(support, 0.0, slope - level)
        if gain.min() >= -1e-13:
            break
        support[int(np.argmin(gain))] = True
        weights, support = _solve_support(gram, target, weights, support)
    return weights


def _solve_support(gram, target, weights, support):
    for _ in range(len(weights) + 1):
        on = np.flatnonzero(support)
        n = len(on)
        table = np.zeros((n + 1, n + 1))
        table[:n, :n], table[:n, n], table[n, :n] = gram[np.ix_(on, on)], 1.0, 1.0
        right = np.concatenate([target[on], [1.0]])
        try:
            wanted = np.linalg.solve(table, right)[:n]
        except np.linalg.LinAlgError:
            wanted = np.linalg.lstsq(table, right, rcond=None)[0][:n]
        if (wanted > 0).all():
            moved = np.zeros_like(weights)
            moved[on] = wanted
            return moved, support
        have = weights[on]
        falls = wanted <= 0
        step = np.min(have[falls] / np.maximum(have[falls] - wanted[falls], 1e-300))
        weights = np.zeros_like(weights)
        weights[on] = have + step * (wanted - have)
        weights[weights < 1e-14] = 0.0
        support = weights > 0
    return weights, support


def unexplained(means, weights):
    """Return (B, S, A): the mean of the reference's less the synthetic control's."""
    return means[..., 0] - np.einsum("bsak,bk->bsa", means[..., 1:], weights)


def _known_mean(values):
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)


def _spread_of_controls(squares, counting):
    """Return (..., A) root mean square over controls without the largest; NaN under two."""
    known = np.isfinite(squares) & counting
    kept = np.where(known, np.maximum(squares, 0.0), 0.0)
    return np.sqrt(_divided(kept.sum(axis=-1) - kept.max(axis=-1), known.sum(axis=-1) - 1))


def _over_median(spread):
    own, others = spread[..., 0], spread[..., 1:]
    some = np.isfinite(others).any(axis=-1)
    usual = np.zeros(own.shape)
    if some.any():
        usual[some] = np.nanmedian(np.where(np.isfinite(others), others, np.nan)[some], axis=-1)
    fits = np.isfinite(own) & (usual > 1e-12)
    return np.divide(own, usual, out=np.ones(own.shape), where=fits)


def magnification(sums, own, lower):
    """Return (B, S), 1 or more: how much more controls differ about the suspect's replies."""
    counting = np.concatenate([np.ones((1, own.shape[1]), dtype=bool), ~own])
    variance = sums.squares - _divided(sums.total**2, sums.bytes[..., None])
    variance = _divided(variance, sums.replies[..., None] - 1)[..., 1:]
    among = _over_median(_spread_of_controls(variance, counting))
    means = sums.means[..., 1:]
    known = np.isfinite(means) & counting
    others = known.copy()
    others[:, :, 0] = False
    total = np.where(others, means, 0.0)
    rest = _divided(
        total.sum(axis=2, keepdims=True) - total, others.sum(axis=2, keepdims=True) - others
    )
    with np.errstate(invalid="ignore"):
        away = np.where(known, (means - rest) ** 2, np.nan)
    shifted = _over_median(_spread_of_controls(away, counting))
    return np.maximum(np.maximum(among, np.where(lower[:, None], shifted, 1.0)), 1.0)


def _gains(left, magnified):
    suspect, pool = left[..., 0], left[..., 1:]
    usable = np.isfinite(suspect) & (np.isfinite(pool).sum(axis=-1) >= 3)
    return np.where(usable, (suspect - _known_mean(pool)) / magnified, np.nan)


def _precision(left):
    pool = left[..., 1:]
    away = (pool - _known_mean(pool)[..., None]) ** 2
    deviation = np.sqrt(_known_mean(away))
    enough = np.isfinite(pool).sum(axis=-1) >= 3
    return np.where(enough, 1.0 / np.maximum(deviation, 1e-12), np.nan)


def sample_ratios(found, chosen):
    """Return (B,) the ratio on subsets of the probes; NaN where it has no value."""
    heard = chosen & found.answered
    candidates = relative_temperatures(found, heard)
    whole = Sums(found, chosen, candidates)
    weights = synthetic_weights(whole)
    sums = whole if (heard == chosen).all() else Sums(found, heard, candidates)
    left = unexplained(sums.means, weights)
    gains = _gains(left, magnification(sums, found.own, candidates < _PLANNED))
    inside = np.stack([found.stratum == s for s in (0, 1)], axis=1).astype(float)
    gains = np.where(heard @ inside < 0.5 * (chosen @ inside), np.nan, gains)
    standard = gains * _precision(left)
    usable = np.isfinite(standard)
    precision = np.nan_to_num(_precision(unexplained(whole.means, weights)))
    strata, count = (precision > 0).sum(axis=-1), usable.sum(axis=-1)
    scale = np.sqrt(strata * count) * precision.sum(axis=-1)
    return _divided(strata * np.where(usable, standard, 0.0).sum(axis=-1), scale)


def sample_llr(pair):
    """Return the log-likelihood ratio of the suspect's own replies, in nats a byte."""
    found = unexplained_replies(pair)
    value = float(sample_ratios(found, np.ones((1, len(found.stratum)), bool))[0])
    if math.isnan(value):
        raise UndefinedError("less than half was answered")
    return value


def sample_subsets(pair, chosen):
    """Return (B,) the same on subsets of the probes."""
    found = unexplained_replies(pair)
    return np.concatenate(
        [sample_ratios(found, chosen[i : i + 250]) for i in range(0, len(chosen), 250)]
    )


def sample_categories(pair):
    """Return [{name, value, pool, probes}]: the ratio by probe category."""
    found = unexplained_replies(pair)
    everything = np.ones((1, len(found.stratum)), dtype=bool)
    candidate = relative_temperatures(found, everything & found.answered)
    weights = synthetic_weights(Sums(found, everything, candidate))
    names = sorted({probe.category for probe in pair.probes})
    chosen = np.array([[p.category == name for p in pair.probes] for name in names])
    chosen &= found.answered
    candidates = np.repeat(candidate, len(names))
    sums = Sums(found, chosen, candidates).joined()
    left = unexplained(sums.means, np.repeat(weights, len(names), axis=0))[:, 0]
    gains = _gains(left, magnification(sums, found.own, candidates < _PLANNED)[:, 0])
    rows = []
    for name, gain, row, on in zip(names, gains, left, chosen):
        if math.isfinite(gain):
            pool = row[1:][np.isfinite(row[1:])]
            away = (pool - pool.mean()) * len(pool) / (len(pool) - 1)
            rows.append(
                {"name": name, "value": float(gain), "pool": away.tolist(), "probes": int(on.sum())}
            )
    return rows


# The catalogue of measures. -----------------------------------------------------------------------


class Measure:
    """How one measure is computed: what it needs, and how its interval is drawn."""

    def __init__(
        self,
        compute,
        needs,
        closer="higher",
        *,
        subsets=None,
        bounds=(-np.inf, np.inf),
        reduce="mean",
        version=1,
        interval=None,
    ):
        self.compute, self.needs, self.closer = compute, needs.split(), closer
        self.subsets, self.bounds, self.reduce = subsets, bounds, reduce
        self.version, self.interval = version, interval


def _pooled(compute, needs, closer="higher", **more):
    return Measure(compute, needs, closer, reduce="pooled", **more)


SHARE, SIGNED = (0.0, 1.0), (-1.0, 1.0)
_embedding_cka, _embedding_cka_subsets = cka(probe_vectors)
_hidden_cka, _hidden_cka_subsets = cka(hidden_states)
_LN2 = math.log(2.0)

MEASURES = {
    "answer-adjusted-error": _pooled(
        answer_adjusted_error, "texts pool", bounds=(-np.inf, 1.0), subsets=answer_adjusted_subsets
    ),
    "answer-shared": Measure(answer_shared, "texts", bounds=SHARE),
    "answer-shared-error": Measure(answer_shared_error, "texts", bounds=SHARE),
    "divergence-gap": Measure(divergence_gap, "topk pool", bounds=(-_LN2, _LN2)),
    "embedding-cka": _pooled(
        _embedding_cka, "embeddings", bounds=SIGNED, subsets=_embedding_cka_subsets
    ),
    "embedding-cosine": Measure(embedding_cosine, "embeddings", bounds=SIGNED),
    "embedding-mmd": _pooled(
        embedding_mmd, "embeddings", "lower", bounds=(-2.0, 2.0), subsets=embedding_mmd_subsets
    ),
    "embedding-mutual-knn": Measure(mutual_knn(probe_vectors), "embeddings", bounds=SHARE),
    "equality-mmd": _pooled(equality_mmd, "texts"),
    "equality-rank": _pooled(equality_rank, "crossing"),
    "first-token-agreement": _pooled(
        first_token_agreement, "answers pool", bounds=SHARE, subsets=first_token_subsets
    ),
    "first-token-gap": Measure(first_token_gap, "answers pool", bounds=(-_LN2, _LN2)),
    "hidden-cka": _pooled(_hidden_cka, "hidden", bounds=SIGNED, subsets=_hidden_cka_subsets),
    "hidden-mutual-knn": Measure(mutual_knn(hidden_states), "hidden", bounds=SHARE),
    "idiosyncratic-agreement": _pooled(
        idiosyncratic_agreement, "choices pool", bounds=SHARE, subsets=idiosyncratic_subsets
    ),
    "logit-hellinger": Measure(
        of_positions(lambda r: np.sqrt(np.clip(r["hellinger2"], 0.0, 1.0))),
        "positions",
        "lower",
        bounds=SHARE,
    ),
    "logit-js": Measure(
        of_positions(lambda r: np.clip(r["js"], 0.0, _LN2)),
        "positions",
        "lower",
        bounds=(0.0, _LN2),
    ),
    "logit-kl-forward": Measure(
        of_positions(_divergence("kl_ab")), "positions", "lower", bounds=(0.0, np.inf)
    ),
    "logit-kl-reverse": Measure(
        of_positions(_divergence("kl_ba")), "positions", "lower", bounds=(0.0, np.inf)
    ),
    "logit-rank": Measure(
        of_positions(lambda r: 1.0 / r["rank_argmax_a_in_b"]), "positions", bounds=SHARE
    ),
    "logit-top1": Measure(
        of_positions(lambda r: r["argmax_a"] == r["argmax_b"]), "positions", bounds=SHARE
    ),
    "logit-topk-overlap": Measure(
        of_positions(lambda r: r["topk_overlap"][:, 2]), "positions", bounds=SHARE
    ),
    "logit-tv": Measure(
        of_positions(lambda r: np.clip(r["tv"], 0.0, 1.0)), "positions", "lower", bounds=SHARE
    ),
    "merge-share": _pooled(merge_share, "merge", interval=merge_interval),
    "neuron-matching": _pooled(neurons("gate", "up"), "neurons", "lower"),
    "neuron-order-activations": _pooled(neurons("neuron", "gate"), "neurons", "lower"),
    "neuron-order-weights": _pooled(neurons("neuron", "weight"), "neurons", "lower"),
    "own-residual-correlation": _pooled(
        own_residual, "crossing pool own", bounds=SIGNED, subsets=own_residual_subsets
    ),
    "palimpsest": _pooled(palimpsest, "transcripts", "lower"),
    "rederived-share": _pooled(rederived_share, "rederivation"),
    "residual-correlation": _pooled(
        residual_correlation, "positions pool", bounds=SIGNED, subsets=residual_subsets
    ),
    "sample-llr": _pooled(sample_llr, "crossing pool", subsets=sample_subsets),
    "text-chrf": Measure(text_chrf, "texts", bounds=SHARE),
    "text-ngram-overlap": Measure(text_ngram_overlap, "texts", bounds=SHARE),
    "unembedding-span": _pooled(unembedding_span, "span"),
    "weight-cka": _pooled(weight_cka, "weight_cka"),
}

# Largest difference that is rounding, where it is more than DEFAULT_TOLERANCE. A case states the
# tolerance of each statistic; one that is larger than this is not accepted.
TOLERANCES = {
    # Iterated to a step of 1e-12 there, solved on its support here.
    "sample-llr": {"relative": 1e-7, "absolute": 1e-9},
    # Neighbours by float32 cosines: a product summed in another order may swap equal ones.
    "embedding-mutual-knn": {"relative": 0.0, "absolute": 0.01},
    "hidden-mutual-knn": {"relative": 0.0, "absolute": 0.01},
    # Differences of nearly equal sums.
    "embedding-cka": {"relative": 1e-9, "absolute": 1e-9},
    "hidden-cka": {"relative": 1e-9, "absolute": 1e-9},
    "embedding-mmd": {"relative": 1e-9, "absolute": 1e-9},
    # Solutions of normal equations of a condition up to 1e10.
    "merge-share": {"relative": 1e-7, "absolute": 1e-9},
    "weight-cka": {"relative": 1e-9, "absolute": 1e-9},
    # A p-value of some 1e-300 in another implementation of its distribution.
    "neuron-matching": {"relative": 1e-9, "absolute": 1e-9},
    "neuron-order-activations": {"relative": 1e-9, "absolute": 1e-9},
    "neuron-order-weights": {"relative": 1e-9, "absolute": 1e-9},
    "palimpsest": {"relative": 1e-9, "absolute": 1e-9},
}


def close(stated, found, tolerance):
    """Return whether two numbers, or None, are the same within a tolerance."""
    if stated is None or found is None:
        return stated is found
    if not math.isfinite(found):
        return False
    return abs(stated - found) <= max(
        tolerance["absolute"], tolerance["relative"] * max(abs(stated), abs(found))
    )


# Value and interval of a measure on a pair. -------------------------------------------------------


def usable_pair(measure, pair):
    """Return the pair on the probes that count and have what the measure needs."""
    counted = [i for i, probe in enumerate(pair.probes) if probe.weight > 0]
    if 0 < len(counted) < len(pair.probes):
        pair = pair.take(counted)
    for field in measure.needs:
        pair.require(field)
    keep = np.array([probe.weight > 0 for probe in pair.probes])
    if not keep.any():
        raise UndefinedError("every probe has weight 0")
    for field in measure.needs:
        if field in ("texts", "embeddings", "hidden", "topk", "answers", "positions", "choices"):
            keep &= pair.present(field)
            if not keep.any():
                raise UndefinedError(f"no probe has {field} of both")
    return pair if keep.all() else pair.take(np.flatnonzero(keep))


def measured(measure, pair):
    """Return the value, the number of probes, and the values of a mean measure (else None)."""
    raw = measure.compute(pair)
    if measure.reduce == "pooled":
        return float(raw), len(pair.probes), None
    values = raw[~np.isnan(raw)]
    if not len(values):
        raise UndefinedError("it applies to no probe")
    return math.fsum(values) / len(values), len(values), values


def drawn_interval(measure, pair, result, seed, resamples):
    """Return the 95 % interval, cut to what is possible, or None where there is none."""
    value, _, values = result
    if measure.reduce == "mean":
        found = _bootstrap(values, seed, resamples)
    elif measure.interval is not None:
        found = measure.interval(pair, value, seed, resamples) if resamples >= 8 else None
    else:
        found = _halves(measure, pair, value, seed, resamples)
    if found is None:
        return None
    return max(found[0], measure.bounds[0]), min(found[1], measure.bounds[1])


def _bootstrap(values, seed, resamples):
    n = len(values)
    if n < 8 or not resamples:
        return None
    random = np.random.RandomState(seed)
    means, step = [], max(1, (1 << 22) // n)
    for start in range(0, resamples, step):
        rows = random.randint(0, n, size=(min(step, resamples - start), n))
        means.append(values[rows].mean(axis=1))
    return tuple(np.percentile(np.concatenate(means), (2.5, 97.5)).tolist())


def _halves(measure, pair, value, seed, resamples):
    n = len(pair.probes)
    if measure.subsets is None or n < 8 or not resamples:
        return None
    draws = np.random.RandomState(seed).random_sample((resamples, n))
    order = np.argsort(draws, axis=1, kind="stable")[:, : n // 2]
    chosen = np.zeros((resamples, n), dtype=bool)
    chosen[np.arange(resamples)[:, None], order] = True
    try:
        found = measure.subsets(pair, chosen)
    except UndefinedError:
        return None
    if not np.isfinite(found).all():
        return None
    m = n // 2
    low, high = np.percentile((found - value) * math.sqrt(m / (n - m)), (2.5, 97.5))
    return min(value - float(high), value), max(value - float(low), value)


# Place among the controls. ------------------------------------------------------------------------


class Subjects:
    """Who is who, and which control families a suspect is placed among."""

    def __init__(self, case):
        self.controls = [s for s in case.subjects if s["role"] not in ("reference", "suspect")]
        self.suspects = [s["name"] for s in case.subjects if s["role"] == "suspect"]
        self.architectures = {name: ref["architecture"] for name, ref in case.refs.items()}
        self.families = {}
        for control in self.controls:
            if control["role"] in NULL_ROLES:
                own = self.architectures[control["name"]]
                self.families.setdefault(control["family"], own)

    def alike(self, suspect):
        """Return how many families cover the suspect's architecture."""
        counts = Counter(found for found in self.families.values() if found is not None)
        own = self.architectures[suspect]
        if own is not None:
            return counts[own]
        ranked = sorted(counts.values(), reverse=True)
        return ranked[1] if len(ranked) > 1 else 0

    def null_values(self, row, suspect, less=None):
        """Return one value for each control family that the suspect is placed among."""
        chosen = self.null_controls(row, suspect)
        return self._closest(row, [i for i in chosen if self.controls[i]["family"] != less])

    def null_controls(self, row, suspect):
        """Return the places of the controls that the suspect is placed among."""
        own = self.architectures[suspect]
        null = [i for i, c in enumerate(self.controls) if c["role"] in NULL_ROLES]
        matched = [i for i in null if self.architectures[self.controls[i]["name"]] == own]
        return matched if len(self._closest(row, matched)) >= 6 else null

    def _closest(self, row, chosen):
        pick = max if row["closer"] == "higher" else min
        best = {}
        for i in chosen:
            value, family = row["control_values"][i], self.controls[i]["family"]
            if value is not None:
                best[family] = value if family not in best else pick(best[family], value)
        return [best[family] for family in sorted(best)]


def place_among(value, controls, closer):
    """Return z, rank_p and predictive_p of a value among one value a control family."""
    count = len(controls)
    if not count:
        return {"families": 0, "z": None, "rank_p": None, "predictive_p": None}
    sign = 1.0 if closer == "higher" else -1.0
    rank = (1 + sum(sign * c >= sign * value for c in controls)) / (count + 1)
    z = predictive = None
    if count >= 3 and max(controls) > min(controls):
        mean = math.fsum(controls) / count
        spread = math.sqrt(math.fsum((c - mean) ** 2 for c in controls) / (count - 1))
        if spread > 0:
            z = sign * (value - mean) / spread
            predictive = float(student_tail(z / math.sqrt(1.0 + 1.0 / count), count - 1))
    return {"families": count, "z": z, "rank_p": rank, "predictive_p": predictive}


# Statistics, computed again. ----------------------------------------------------------------------


class Replay:
    """Computes each statistic of a case again and compares."""

    def __init__(self, case):
        self.case = case
        self.statistics = case.json("statistics.json")
        self.subjects = Subjects(case)
        self._pairs, self._values, self._usable = {}, {}, {}

    def pair(self, subject):
        """Return the pair of the reference and a subject."""
        if subject not in self._pairs:
            self._pairs[subject] = load_pair(self.case, subject)
        return self._pairs[subject]

    def usable(self, measure, subject):
        """Return the pair of a subject that a measure is computed on, one for equal needs."""
        key = (*measure.needs, subject)
        if key not in self._usable:
            self._usable[key] = usable_pair(measure, self.pair(subject))
        return self._usable[key]

    def value(self, name, subject):
        """Return (value, probes, values) of a measure on a subject, or the exception it gave."""
        key = (name, subject)
        if key not in self._values:
            measure = MEASURES[name]
            try:
                self._values[key] = measured(measure, self.usable(measure, subject))
            except (UndefinedError, NotReplayableError) as error:
                self._values[key] = error
        return self._values[key]

    def interval(self, measure_id, suspect, draws):
        """Return the interval of a measure that has a value on a suspect, drawn once."""
        key = ("interval", measure_id, suspect, draws)
        if key not in self._values:
            name = measure_id.partition("@")[0]
            measure, seed = MEASURES[name], derived_seed(self.case.plan["seed"], measure_id)
            pair, result = self.usable(measure, suspect), self.value(name, suspect)
            self._values[key] = drawn_interval(measure, pair, result, seed, draws)
        return self._values[key]

    def take_values(self, found):
        """Take what `computed` returned in another process."""
        self._values.update(found)

    def computed(self, task):
        """Return what is to be known of (measures, subjects), as `_values` holds it."""
        names, subjects = task
        before = set(self._values)
        for subject in subjects:
            for name in names:
                # A fault is found again, and told, where the statistic is checked.
                with contextlib.suppress(NotReplayableError, *_MALFORMED):
                    self._compute(name, subject)
        self._forget()
        return {key: self._values[key] for key in self._values.keys() - before}

    def _forget(self):
        """Drop what a task has read: the next one reads other parts, and all together take room."""
        self._pairs.clear()
        self._usable.clear()
        self.case.forget()

    def _compute(self, name, subject):
        found = self.value(name, subject)
        for row in self.statistics["suspects"].get(subject, ()):
            draws = _draws_of(row) if row["measure"].partition("@")[0] == name else None
            if isinstance(found, tuple) and draws and int(draws[1]) <= MOST_DRAWS:
                self.interval(row["measure"], subject, int(draws[1]))
        if name in DECISIVE and "without" in self.statistics:
            self._less(name, subject)

    def rows(self):
        """Yield (suspect, row, outcome, detail) of every statistic."""
        for suspect in self.subjects.suspects:
            for row in self.statistics["suspects"][suspect]:
                yield suspect, row, *self._checked(suspect, row)

    def _checked(self, suspect, row):
        try:
            faults = list(self._faults(suspect, row))
        except NotReplayableError as error:
            return "not replayable", str(error)
        except _MALFORMED as error:
            return "differs", f"the stored data do not fit together: {error!r}"
        return ("differs", "; ".join(faults)) if faults else ("ok", "")

    def _faults(self, suspect, row):
        name, _, version = row["measure"].partition("@")
        measure = MEASURES.get(name)
        if measure is None or version != str(measure.version):
            raise NotReplayableError(f"this file knows no formula of {row['measure']}")
        numbers = [row["value"], *row["control_values"]]
        if not all(number is None or _finite(number) for number in numbers):
            yield "the value, or that of a control, is no finite number"
            return
        tolerance = self._tolerance(name, row)
        if tolerance is None:
            yield f"the stated tolerance {row['tolerance']} is larger than that of {name}"
            tolerance = TOLERANCES.get(name, DEFAULT_TOLERANCE)
        if row["closer"] != measure.closer:
            yield f"closer: {row['closer']} stated, {measure.closer} is right"
        yield from self._value_faults(suspect, row, tolerance)
        yield from self._control_faults(name, row, tolerance)
        yield from self._place_faults(suspect, row)

    @staticmethod
    def _tolerance(name, row):
        """Return the tolerance that a statistic states; None where it is too large."""
        most = TOLERANCES.get(name, DEFAULT_TOLERANCE)
        stated = row.get("tolerance", most)
        return None if any(not 0 <= stated[key] <= most[key] for key in most) else stated

    def _value_faults(self, suspect, row, tolerance):
        name = row["measure"].partition("@")[0]
        found = self.value(name, suspect)
        if isinstance(found, NotReplayableError):
            raise found
        if isinstance(found, UndefinedError):
            if row["value"] is not None:
                yield f"value {row['value']!r} stated, it is undefined: {found}"
            elif found.stated and row["undefined"] != str(found):
                yield f"undefined: {row['undefined']!r} stated, {str(found)!r} is in the case"
            return
        value, probes, _ = found
        if not close(row["value"], value, tolerance):
            yield f"value {row['value']!r} stated, {value!r} found"
            return
        if row["probes"] != probes:
            yield f"probes {row['probes']} stated, {probes} found"
        yield from self._interval_faults(suspect, row, tolerance)

    def _interval_faults(self, suspect, row, tolerance):
        drawn = _draws_of(row)
        if (row["interval"] is None) != (drawn is None):
            yield "an interval without its number of draws, or draws without an interval"
        if row["interval"] is None or drawn is None:
            return
        if int(drawn[1]) > MOST_DRAWS:
            yield f"an interval of {drawn[1]} draws; at most {MOST_DRAWS} are made again"
            return
        found = self.interval(row["measure"], suspect, int(drawn[1]))
        ends = found or (None, None)
        if not all(close(a, b, tolerance) for a, b in zip(row["interval"], ends)):
            yield f"interval {row['interval']} stated, {found and list(found)} found"

    def _control_faults(self, name, row, tolerance):
        controls = self.subjects.controls
        if len(row["control_values"]) != len(controls):
            yield f"{len(row['control_values'])} control values for {len(controls)} controls"
            return
        for control, stated in zip(controls, row["control_values"]):
            found = self.value(name, control["name"])
            if isinstance(found, NotReplayableError):
                raise found
            value = None if isinstance(found, UndefinedError) else found[0]
            if not close(stated, value, tolerance):
                yield f"control {control['name']}: {stated!r} stated, {value!r} found"

    def _place_faults(self, suspect, row):
        place = {"z": None, "rank_p": None, "predictive_p": None}
        if row["value"] is not None:
            null = self.subjects.null_values(row, suspect)
            place = place_among(row["value"], null, row["closer"])
        for key in ("z", "rank_p", "predictive_p"):
            if not close(row[key], place[key], DEFAULT_TOLERANCE | {"absolute": 1e-300}):
                yield f"{key} {row[key]!r} stated, {place[key]!r} found"

    def scope_faults(self, suspect):
        """Yield what differs in the parts of a suspect's statistics."""
        stated = self.statistics.get("scope", {}).get(suspect, {})
        found = {}
        pair = self.pair(suspect)
        for key, compute in (("categories", sample_categories), ("layers", _layers)):
            with contextlib.suppress(UndefinedError):
                found[key] = compute(pair)
        yield from differences(stated, found, TOLERANCES["sample-llr"], "scope")

    def validation_of(self, pattern, fusion, controls):
        """Return the validation of a fusion, computed once."""
        key = ("validation", pattern)
        if key not in self._values:
            self._values[key] = validation(fusion, controls)
        return self._values[key]

    def without_faults(self, suspect):
        """Yield what differs in the decisive tests without one category: suspect and controls."""
        stated = self.statistics["without"]
        names = [suspect, *(control["name"] for control in self.subjects.controls)]
        for test in DECISIVE:
            measure = MEASURES[test]
            theirs = stated.get(f"{test}@{measure.version}", {})
            for name in names:
                found = self._less(test, name)
                kept = {c: values[name] for c, values in theirs.items() if name in values}
                path = f"without.{test}.{name}"
                yield from differences(kept, found, TOLERANCES.get(test, DEFAULT_TOLERANCE), path)

    def _less(self, test, subject):
        """Return {category: value on the probes of all others}."""
        key = ("without", test, subject)
        if key not in self._values:
            self._values[key] = self._computed_less(MEASURES[test], subject)
        return self._values[key]

    def _computed_less(self, measure, subject):
        try:
            pair = self.usable(measure, subject)
            own = np.array([probe.category for probe in pair.probes])
            categories = sorted(set(own.tolist()))
            if len(categories) < 2:
                return {}
            values = measure.subsets(pair, np.array([own != name for name in categories]))
        except UndefinedError:
            return {}
        known = [float(value) if math.isfinite(value) else None for value in values]
        return dict(zip(categories, known))


DECISIVE = ("sample-llr", "idiosyncratic-agreement")


def _draws_of(row):
    """Return the match whose group 1 is the number of draws of a statistic's interval, or None."""
    return re.search(r"; (\d+) ", row["implementation"] or "")


def _layers(pair):
    pair.require("neurons")
    return [
        {"layer": layer, "neurons": count, "log10_p": math.log10(p), "agreed": agreed}
        for layer, count, p, agreed in neuron_tests(pair, "gate", "up")
    ]


def differences(stated, found, tolerance, path):
    """Yield where two JSON values differ; numbers within the tolerance are the same."""
    if isinstance(stated, dict) and isinstance(found, dict):
        for key in sorted({*stated, *found}):
            if key not in stated or key not in found:
                yield f"{path}.{key}: only {'found' if key in found else 'stated'}"
            else:
                yield from differences(stated[key], found[key], tolerance, f"{path}.{key}")
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for i, (a, b) in enumerate(zip(stated, found)):
            yield from differences(a, b, tolerance, f"{path}[{i}]")
    elif not _same(stated, found, tolerance):
        yield f"{path}: {stated!r} stated, {found!r} found"


def _same(stated, found, tolerance):
    if _number(stated) and _number(found):
        return close(stated, found, tolerance)
    return stated == found and isinstance(stated, bool) == isinstance(found, bool)


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# On several cores. --------------------------------------------------------------------------------


MOST_WORKERS = 4
"""Processes: with more, each would wait for the longest of the tasks."""


def available_cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def compute_beside(replay, workers):
    """Compute most of what a replay asks for in `workers` processes, this one among them.

    They are forks, which have read the case; only of Linux it is known that this is safe. What one
    of them cannot compute is missing from what it sends, and computed where it is asked for.
    """
    if workers < 2 or sys.platform != "linux":
        return
    case = replay.case
    names = [subject["name"] for subject in case.subjects]
    case.take_replies(in_forks(case.answered, names, workers))
    for found in in_forks(replay.computed, _tasks(replay), workers).values():
        replay.take_values(found)


def _tasks(replay):
    """Return (measures, subjects): measures of equal needs share much of what they compute.

    Embeddings take longest, and no subject's need another's: one subject each, to fill the ends.
    """
    rows = itertools.chain.from_iterable(replay.statistics["suspects"].values())
    stated = {row["measure"].partition("@")[0] for row in rows}
    groups = defaultdict(list)
    for name in MEASURES:
        if name in stated:
            groups[tuple(MEASURES[name].needs)].append(name)
    controls = [control["name"] for control in replay.subjects.controls]
    subjects = (*replay.subjects.suspects, *controls)
    embedded = tuple(groups.pop(("embeddings",), ()))
    tasks = [(tuple(names), subjects) for names in groups.values()]
    return tasks + [(embedded, (subject,)) for subject in subjects if embedded]


def in_forks(compute, tasks, workers):
    """Return {task: result}, each task computed by the next of the processes that is free."""
    fork = multiprocessing.get_context("fork")
    waiting, numbers = os.pipe()
    os.write(numbers, b"".join(number.to_bytes(2, "big") for number in range(len(tasks))))
    os.close(numbers)

    def work():
        found = {}
        while number := os.read(waiting, 2):
            task = tasks[int.from_bytes(number, "big")]
            with contextlib.suppress(UnreadableError, *_MALFORMED):
                found[task] = compute(task)
        return found

    others = []
    for _ in range(min(workers, len(tasks)) - 1):
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=lambda pipe=theirs: pipe.send(work()), daemon=True)
        process.start()
        theirs.close()
        others.append((process, ours))
    found = work()
    os.close(waiting)
    for process, pipe in others:
        with contextlib.suppress(EOFError):
            found |= pipe.recv()
        process.join()
    return found


# The rules of the reading, version 3. -------------------------------------------------------------

SCALE = (
    (1.0, "no support for either"),
    (2.0, "weak support"),
    (10.0, "moderate support"),
    (100.0, "moderately strong support"),
    (1000.0, "strong support"),
    (10000.0, "very strong support"),
    (1000000.0, "extremely strong support"),
)
"""ENFSI 2015: the scale of the words, from 1 upwards."""

THRESHOLDS = {
    "rederived_share": 0.5,
    "replication_alpha": 1e-4,
    "neurons_agreed": 0.2,
    "fewest_families": 6,
    "fewest_alike": 2,
    "imitation_alpha": 0.01,
    "supporting_p": 0.1,
    "logits_excess": 0.15,
    "text_excess": 0.03,
    "no_link_p": 0.05,
    "power": 0.9,
}

_ALWAYS = [
    "Similar outputs can have innocent causes: shared public data, a shared base model, "
    "a shared teacher, the same tokenizer or style norms.",
    "Similarity has no direction: these findings cannot tell who learned from whom.",
]
_ANCESTOR = (
    "Weights that match say common ancestry: the suspect may derive from the reference, the "
    "reference from the suspect, or both from a third model."
)
_FOUND = {
    "sample-llr": "the suspect's own samples favour the reference",
    "idiosyncratic-agreement": "where the reference is unlike the controls, the suspect agrees "
    "with it",
}


def holm(p):
    """Return the p-values adjusted after Holm 1979; None stays None."""
    made = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted, largest = [None] * len(p), 0.0
    for step, (value, i) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - step) * value))
        adjusted[i] = largest
    return adjusted


def shown_p(value):
    """Return a p-value as the sentences give it."""
    if value < SMALLEST_P:
        return "under 1e-300"
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}"


class Test:
    """One decisive test of imitation on one suspect."""

    def __init__(self, name, place, closest_z):
        self.name, self.place, self.closest_z, self.p = name, place, closest_z, None

    @property
    def beyond_all(self):
        """Whether the suspect is closer than every control family."""
        rank = self.place["rank_p"]
        return rank is not None and rank <= 1.0 / (self.place["families"] + 1) + 1e-12

    @property
    def adjusted(self):
        """The p after correction; 1 where there is none."""
        return 1.0 if self.p is None else self.p


class Evidence:
    """What the rules look at, for one suspect."""

    def __init__(self, replay, suspect):
        case, subjects = replay.case, replay.subjects
        self.suspect = suspect
        rows = {r["measure"].partition("@")[0]: r for r in replay.statistics["suspects"][suspect]}
        self.limits = thresholds_of(case.plan)
        self.families = len(subjects.families)
        self.architecture = subjects.architectures[suspect]
        self.alike = subjects.alike(suspect)
        self.rederived = _value(rows.get("rederived-share"))
        neuron = rows.get("neuron-matching")
        log10_p = _value(neuron)
        self.neuron_p = None if log10_p is None else 10.0**log10_p
        self.neuron_score = None if log10_p is None else -log10_p
        self.ancestor = self._ancestor(neuron, subjects)
        self.copy_excluded = neuron is not None and any(
            start in (neuron["undefined"] or "") for start in ("different widths", "different MLPs")
        )
        layers = replay.statistics.get("scope", {}).get(suspect, {}).get("layers", ())
        self.agreed = max((float(layer["agreed"]) for layer in layers), default=None)
        self.places = {
            name: place_among(row["value"], subjects.null_values(row, suspect), row["closer"])
            for name, row in rows.items()
            if row["value"] is not None
        }
        self.tests = [
            Test(name, self.places[name], self._closest(rows[name], suspect, subjects))
            for name in ("sample-llr", "idiosyncratic-agreement")
            if name in self.places
        ]
        self.span_excess = self._excess(rows.get("unembedding-span"), suspect, subjects)
        self.seen_dose = None

    @staticmethod
    def _closest(row, suspect, subjects):
        values = subjects.null_values(row, suspect)
        return place_among(max(values), values, "higher")["z"] if values else None

    @staticmethod
    def _excess(row, suspect, subjects):
        if _value(row) is None or subjects.alike(suspect) < 6:
            return None
        closest = max(subjects.null_values(row, suspect), default=1.0)
        return None if closest >= 1.0 else (row["value"] - closest) / (1.0 - closest)

    def _ancestor(self, row, subjects):
        if _value(row) is None:
            return None
        for control, value in zip(subjects.controls, row["control_values"]):
            if control["role"] not in NULL_ROLES or value is None:
                continue
            if 10.0**value * len(subjects.controls) < self.limits["replication_alpha"]:
                return control["name"]
        return None


def _value(row):
    return None if row is None else row["value"]


def thresholds_of(plan):
    """Return the numbers of the rules that the plan fixed."""
    planned = dict(plan.get("rules") or {})
    rules = planned.pop("rules", "reading/3")
    limits = THRESHOLDS | planned
    if rules in ("reading/1", "reading/2"):
        limits["supporting_p"] = 1.0
    return limits


def concluded(reading, basis, cap=None, limits=(), via=None):
    """Return a conclusion without its likelihood ratios."""
    return {
        "reading": reading,
        "via": via,
        "basis": basis,
        "log10_lr": None,
        "cap": cap,
        "interval": None,
        "verbal": None,
        "limits": list(limits),
    }


def conclude(e):
    """Return the reading by the first rule that applies."""
    rules = (_rederived, _replicated, _uncontrolled, _uncovered, _imitated, _no_link)
    for rule in rules:
        found = rule(e)
        if found is not None:
            return found
    limits = _floor(e)
    if e.seen_dose is None:
        limits.append(
            "It is not known which dose of imitation would have been seen, so the absence of a "
            "finding says nothing: add imitation controls of known dose (auditor controls build)."
        )
    if not e.tests:
        limits.append("Neither decisive test of imitation could be computed.")
    cap = f"rank among {e.families} control families"
    return concluded("inconclusive", _ranks(e), cap, [*limits, *_ALWAYS])


def _rederived(e):
    if e.rederived is None or e.rederived < e.limits["rederived_share"]:
        return None
    basis = (
        f"re-derived: {e.rederived:.1%} of the tested weights are the reference's, bit for bit, "
        "after a transform of the reference"
    )
    return concluded("replication", basis, limits=[_ANCESTOR, _ALWAYS[1]])


def _replicated(e):
    if e.neuron_p is None or e.neuron_p >= e.limits["replication_alpha"]:
        return None
    p = shown_p(e.neuron_p)
    if e.agreed is None or e.agreed < e.limits["neurons_agreed"]:
        share = "an unknown share" if e.agreed is None else f"{e.agreed:.0%}"
        basis = (
            f"the neurons match beyond chance (p {p}), but {share} of a layer at most: "
            "independent models, too, learn some neurons alike"
        )
        cap = "too few neurons in common for a copy"
        return concluded("inconclusive", basis, cap, [_ANCESTOR, *_ALWAYS])
    if e.ancestor is not None:
        basis = (
            f"common ancestry: the neurons match (p {p}), but so do those of the control "
            f"{e.ancestor}, which is said to have no link"
        )
        question = f"Is {e.ancestor} an ancestor of the reference?"
        limits = [_ANCESTOR, question, *_ALWAYS]
        return concluded("inconclusive", basis, "weights shared with a control", limits)
    basis = (
        f"neuron matching: p {p} after correction for the number of suspects, where "
        "independently trained models give a uniform p"
    )
    return concluded("replication", basis, limits=[_ANCESTOR, _ALWAYS[1]])


def _advice(e):
    return (
        "Add control models that are known to be independent of the reference, of similar size, "
        f"data and date (--control SPEC): at least {e.limits['fewest_families']} families, "
        f"{e.limits['fewest_alike']} of them of the suspect's architecture, a student of another "
        "teacher among them."
    )


def _uncontrolled(e):
    fewest = e.limits["fewest_families"]
    if e.families == 0:
        limits = ["Without controls there is no verdict. " + _advice(e), *_ALWAYS]
        cap = "no verdict without controls"
        return concluded("inconclusive", "uncontrolled similarity", cap, limits)
    if e.families < fewest:
        limits = [_advice(e), *_floor(e), *_ALWAYS]
        cap = f"fewer than {fewest} control families"
        return concluded("inconclusive", _ranks(e), cap, limits)
    return None


def _uncovered(e):
    if e.alike >= e.limits["fewest_alike"]:
        return None
    kind = e.architecture or "an architecture that cannot be observed"
    limit = (
        f"Only {e.alike} of {e.families} control families cover {kind}: "
        "architecture alone moves these statistics. " + _advice(e)
    )
    cap = f"the controls do not cover {kind}"
    return concluded("inconclusive", _ranks(e), cap, [limit, *_ALWAYS])


def _imitated(e):
    found = [t for t in e.tests if t.beyond_all and t.adjusted < e.limits["imitation_alpha"]]
    if not found:
        return None
    best = min(found, key=lambda test: test.adjusted)
    families = best.place["families"]
    basis = (
        f"{_FOUND[best.name]} beyond all {families} control families "
        f"(z {best.place['z']:.1f}, predictive p {shown_p(best.adjusted)} after correction)"
    )
    limits = [*_floor(e), *_ALWAYS]
    against = [
        t
        for t in e.tests
        if t.place["predictive_p"] is not None
        and t.place["predictive_p"] > e.limits["supporting_p"]
    ]
    if against:
        basis = f"the decisive tests disagree: {basis}, but by {_listed(against)} it is inside them"
        return concluded("inconclusive", basis, "one decisive test without the other", limits)
    if e.neuron_p is None and not e.copy_excluded:
        cap = "weights not comparable: behaviour alone cannot tell imitation from replication"
        limits = ["Compare at weights access to tell the two apart.", *limits]
        return concluded("inconclusive", f"imitation or replication: {basis}", cap, limits)
    via, limit = _via(e)
    cap = f"rank among {families} control families"
    return concluded("imitation", basis, cap, [limit, *limits], via)


def _via(e):
    excess = e.span_excess
    if excess is not None and excess >= e.limits["logits_excess"]:
        return "logits", "The unembedding spans what only training on logits was seen to give."
    if excess is not None and excess <= e.limits["text_excess"]:
        text = "The unembedding shows no trace of training on logits; a small dose leaves none."
        return "text", text
    return None, "Whether logits or text were learned cannot be told from the unembedding."


def _no_link(e):
    if not e.tests or e.seen_dose is None:
        return None
    p = [test.place["predictive_p"] for test in e.tests]
    if any(value is None or value < e.limits["no_link_p"] for value in p):
        return None
    if e.neuron_p is None and not e.copy_excluded:
        return None
    basis = (
        f"inside the {e.tests[0].place['families']} control families by {_listed(e.tests)}; "
        f"neurons do not match; imitation of {e.seen_dose:.0%} of the training or more would have "
        f"been seen with power {e.limits['power']:.0%}"
    )
    cap = f"imitation below {e.seen_dose:.0%} of the training cannot be excluded"
    limits = ["No link found is not proof of independence.", *_ALWAYS]
    return concluded("no-link", basis, cap, limits)


def _listed(tests):
    return " and ".join(f"{test.name} (z {test.place['z']:.1f})" for test in tests)


def _ranks(e):
    found = [p["rank_p"] for p in e.places.values() if p["rank_p"] is not None]
    closest = sum(rank <= 1.0 / (e.families + 1) + 1e-12 for rank in found)
    everyone = "the one control family" if e.families == 1 else f"all {e.families} control families"
    return (
        f"screening: closer to the reference than {everyone} on {closest} of {len(found)} measures"
    )


def _floor(e):
    noun = "family" if e.families == 1 else "families"
    return [
        f"With {e.families} control {noun} no rank p-value can be below 1/{e.families + 1}.",
        "The measures share probes, so their ranks are not independent of each other.",
    ]


# Where the link shows. ----------------------------------------------------------------------------


def scope(parts):
    """Return the scope of a list of (name, p, reason), or None where nothing was tested."""
    tested = [p for _, p, _ in parts if p is not None]
    if not tested:
        return None
    adjusted = holm([p for _, p, _ in parts])
    rows = [
        {"name": name, "p": p, "adjusted": a, "shows": a is not None and a < 0.05, "reason": why}
        for (name, p, why), a in zip(parts, adjusted)
    ]
    differ = None
    if len(tested) > 1:
        z = [-NormalDist().inv_cdf(min(max(p, SMALLEST_P), 0.99)) for p in tested]
        mean = math.fsum(z) / len(z)
        differ = chi2_tail(math.fsum((v - mean) ** 2 for v in z), len(z) - 1)
    names = [row["name"] for row in rows if row["shows"]]
    extent = _extent(len(names), len(tested), differ)
    where = f"The link shows in {len(names)} of {len(tested)} parts"
    listed = ", ".join(names)
    sentence = {
        "none": f"The link shows in none of {len(tested)} parts taken singly.",
        "broad": f"{where}: broad.",
        "targeted": f"{where} and not alike in all: targeted at {listed}.",
        "undecided": f"{where} ({listed}); whether the others lack it cannot be told.",
    }[extent]
    return {"extent": extent, "sentence": sentence, "heterogeneity_p": differ, "parts": rows}


def _extent(shown, tested, differ):
    if not shown:
        return "none"
    if differ is None:
        return "undecided"
    if shown >= 0.8 * tested:
        return "broad"
    return "targeted" if shown <= 0.5 * tested and differ < 0.05 else "undecided"


def scopes(parts):
    """Return the scope object of a conclusion from that of the statistics."""
    categories = [
        (
            part["name"],
            place_among(part["value"], part["pool"], "higher")["predictive_p"],
            None if len(part["pool"]) > 2 else "fewer than 3 controls",
        )
        for part in parts.get("categories", ())
    ]
    layers = [(str(p["layer"]), 10.0 ** p["log10_p"], None) for p in parts.get("layers", ())]
    return {"categories": scope(categories), "layers": scope(layers)}


# What the calibration in the case allows to say. --------------------------------------------------

FEATURE_OF = {"sample-llr": "sample", "idiosyncratic-agreement": "idiosyncrasy"}


def outside(population, case, suspect, families, measures):
    """Return the first reason why a case is outside a population, or None."""
    for who, name in (("the reference", case.reference), ("the suspect", suspect)):
        reason = _model_reason(population, case.refs[name])
        if reason:
            return f"{who}'s {reason}"
    access = case.refs[suspect]["access"]
    if access not in population["access"]:
        levels = ", ".join(population["access"])
        return f"access to the suspect is {access}, the controls had {levels}"
    low, high = population["null_families"]
    if not low <= families <= high:
        return f"{families} unlinked control families in the pool, the controls had {low} to {high}"
    suites = [f"{s['name']}@{s['version']}" for s in case.plan["suites"]]
    for noun, needed, given in (
        ("suite", population["suites"], suites),
        ("measure", population["measures"], measures),
    ):
        for name in needed or ():
            if name not in given:
                return f"{noun} {name} of the controls was not used"
    return None


def _model_reason(population, ref):
    for noun, key, field in (
        ("parameters", "parameters", "parameters"),
        ("vocabulary entries", "vocabulary", "vocabulary"),
    ):
        span, value = population[key], ref[field]
        if span is not None and value is None:
            return f"number of {noun} is unknown"
        if span is not None and not span[0] <= value <= span[1]:
            return f"number of {noun} is {value:,}, the controls have {span[0]:,} to {span[1]:,}"
    for noun, key, field in (
        ("architecture", "architectures", "architecture"),
        ("tokenizer", "tokenizers", "tokenizer_digest"),
    ):
        known, word = population[key], ref[field]
        if known is not None and word not in known:
            return (
                f"{noun} is unknown"
                if word is None
                else f"{noun} {word} is not among the controls'"
            )
    return None


def select_fusion(fusions, scores):
    """Return the fusion of the largest access pattern that the scores cover."""
    defined = {name for name, value in scores.items() if value is not None}
    covered = [f for f in fusions if {x["name"] for x in f["features"]} <= defined]
    if not covered:
        known = " or ".join("+".join(x["name"] for x in f["features"]) for f in fusions) or "none"
        raise UndefinedError(
            f"no fusion was validated for the scores {sorted(defined)}; there is one for {known}"
        )
    return max(covered, key=lambda f: len(f["features"]))


_CHANGE = {"identity": float, "asinh": np.arcsinh, "log1p": np.log1p}


def standardised(fusion, scores):
    """Return the scores as the coefficients take them."""
    x = []
    for feature in fusion["features"]:
        name, raw = feature["name"], scores.get(feature["name"])
        if raw is None or (feature["transform"] == "log1p" and raw < 0):
            raise UndefinedError(f"score {name!r} is {raw}: outside its range")
        x.append((_CHANGE[feature["transform"]](raw) - feature["mean"]) / feature["scale"])
    return np.array(x)


def levels(fit, x):
    """Return the log likelihood of each class, up to a constant."""
    return np.array(fit["intercepts"]) + np.array(fit["slopes"]) @ x


def sides(fusion, pair):
    """Return the places of a pair's propositions among the classes."""
    return tuple(fusion["classes"].index(name) for name in pair.split(":"))


def clipped(value, bounds):
    """Return a ratio within its bounds."""
    return min(max(float(value), bounds["lower"]), bounds["upper"])


def point_ratios(fusion, scores, fit=None):
    """Return {pair: bounded log10 LR}, of the fusion's own fit or of another one."""
    own = levels(fit or fusion["coefficients"], standardised(fusion, scores))
    found = {}
    for pair, bounds in fusion["bounds"].items():
        first, second = sides(fusion, pair)
        found[pair] = clipped((own[first] - own[second]) / LN10, bounds)
    return found


def weighed_pairs(fusion, scores):
    """Return {pair: (log10 LR, interval, bounds, log10 LR without bounds)}."""
    x = standardised(fusion, scores)
    own = levels(fusion["coefficients"], x)
    drawn = np.stack([levels(fit, x) for fit in fusion["replicates"]])
    found = {}
    for pair, bounds in fusion["bounds"].items():
        first, second = sides(fusion, pair)
        tails = np.percentile((drawn[:, first] - drawn[:, second]) / LN10, (2.5, 97.5))
        free = float((own[first] - own[second]) / LN10)
        low, high = (clipped(end, bounds) for end in tails)
        found[pair] = (clipped(free, bounds), (low, high), bounds, free)
    return found


def fused(fusions, scores):
    """Return {pair: (log10 LR, interval, bounds)} of a suspect's scores, and what is beyond."""
    fusion = select_fusion(fusions, scores)
    beyond = [
        feature["name"]
        for feature in fusion["features"]
        if not feature["range"][0] <= scores[feature["name"]] <= feature["range"][1]
    ]
    found = weighed_pairs(fusion, scores)
    return {pair: row[:3] for pair, row in found.items()}, beyond


def _category(value, low, high):
    """Return the index of the words for a likelihood ratio in its interval."""
    size = max(0.0, low) if value > 0 else max(0.0, -high)
    return max((i for i, (start, _) in enumerate(SCALE) if size >= math.log10(start) - 1e-12))


def _rounded_down(size):
    value = 10.0**size * (1 + 1e-9)
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.floor(value / step) * step:,.{0 if step >= 1 else 1}f}".removesuffix(".0")


def sentence(pair, value, interval, bounds):
    """Return the finding in one sentence, for the proposition that it supports."""
    words = {
        "independent": "if the suspect was independent of the reference",
        "imitation": "if the suspect imitated the reference",
        "replication": "if the suspect's weights derive from the reference's",
    }
    first, second = (words[name] for name in pair.split(":"))
    index = _category(value, *interval)
    support = SCALE[index][1]
    if index == 0:
        return f"The findings do not help to decide whether {first[3:]} or {second[3:]}: {support}."
    if value < 0:
        first, second = second, first
    cap = ""
    if not bounds["lower"] < value < bounds["upper"]:
        one, other = bounds["families"]
        cap = f" (the most that {one} and {other} control families allow)"
    if _category(value, value, value) > index:
        nearer = _rounded_down(min(abs(interval[0]), abs(interval[1])))
        support += f", because the 95 % interval reaches down to about {nearer}"
    return (
        f"The findings are about {_rounded_down(abs(value))} times more probable {first} "
        f"than {second}{cap}: {support}."
    )


class DoseCurve:
    """Mean score and spread of controls at each graded dose."""

    def __init__(self, doses, means, spreads, families, left_out=()):
        self.doses, self.spreads = np.array(doses), np.array(spreads)
        self.families = np.array(families)
        self.means = isotonic(means, families)
        self.left_out = left_out

    def at(self, grid):
        """Return mean, spread and degrees of freedom of a new score at doses."""
        left = np.searchsorted(self.doses, grid, side="right") - 1
        left = np.clip(left, 0, len(self.doses) - 2)
        share = (grid - self.doses[left]) / (self.doses[left + 1] - self.doses[left])
        share = np.clip(share, 0.0, 1.0)
        weights, ends = np.stack([1.0 - share, share]), np.stack([left, left + 1])
        spread = (weights * self.spreads[ends]).sum(axis=0)
        of_mean = (weights**2 * self.spreads[ends] ** 2 / self.families[ends]).sum(axis=0)
        fewest = np.where(weights > 0, self.families[ends], 1 << 60).min(axis=0)
        mean = (weights * self.means[ends]).sum(axis=0)
        return mean, np.sqrt(spread**2 + of_mean), fewest - 1

    def grid(self):
        """Return the thousandths within the graded range, graded doses included."""
        steps = np.arange(1001) / 1000
        inside = steps[(steps > self.doses[0]) & (steps < self.doses[-1])]
        return np.unique(np.concatenate([inside, self.doses]))

    def limits(self):
        """Return what rests on interpolation or on nothing."""
        graded = ", ".join(f"{dose:.0%}" for dose in self.doses)
        texts = [
            f"Doses between the graded ones ({graded}) are interpolated on straight lines.",
            "The dose is that of a model made by the controls' recipe; another recipe of "
            "imitation (text or logits, other sizes, laundering) gives another score.",
        ]
        if self.doses[0] > 0:
            texts.append(f"No control under {self.doses[0]:.0%}: what is below is not known.")
        if self.doses[-1] < 1:
            texts.append(f"No control over {self.doses[-1]:.0%}: what is above is not known.")
        if self.left_out:
            few = ", ".join(f"{dose:.0%}" for dose in self.left_out)
            texts.append(f"Left out, with fewer than 3 families: {few}.")
        return texts


def powers(curves, grid, threshold):
    """Return (C, D): the chance that a model of each dose, or more, scores above the threshold."""
    mean, spread, freedom = np.stack([curve.at(grid) for curve in curves], axis=1)
    chance = student_tail((threshold - mean) / spread, freedom)
    return np.minimum.accumulate(chance[:, ::-1], axis=1)[:, ::-1]


def isotonic(values, weights):
    """Return the nearest non-decreasing values in weighted least squares (pool adjacent)."""
    blocks = []
    for value, weight in zip(values, weights):
        blocks.append([float(value), float(weight), 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            v, w, n = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + v * w) / (before[1] + w)
            before[1], before[2] = before[1] + w, before[2] + n
    return np.array([value for value, _, n in blocks for _ in range(n)])


def family_means(controls):
    """Return [(dose, family, mean score)], sorted."""
    groups = defaultdict(list)
    for control in controls:
        groups[control["dose"], control["family"]].append(control["score"])
    return [(d, f, math.fsum(own) / len(own)) for (d, f), own in sorted(groups.items())]


def dose_curve(controls):
    """Return the curve of graded controls."""
    scores = defaultdict(list)
    for dose, _, score in family_means(controls):
        scores[dose].append(score)
    used = [dose for dose, values in scores.items() if len(values) >= 3]
    if len(used) < 2:
        raise UndefinedError(f"{len(used)} graded doses have 3 families or more: a curve needs two")
    for dose in used:
        if max(scores[dose]) == min(scores[dose]):
            raise UndefinedError(f"all controls of dose {dose:g} score {scores[dose][0]:g}")
    return DoseCurve(
        used,
        [np.mean(scores[dose]) for dose in used],
        [np.std(scores[dose], ddof=1) for dose in used],
        [len(scores[dose]) for dose in used],
        tuple(dose for dose in scores if dose not in used),
    )


def seen_dose(controls, threshold, power=0.9):
    """Return the smallest dose that would have been seen, with its interval over families."""
    curve = dose_curve(controls)
    grid = curve.grid()
    (own,) = powers([curve], grid, threshold)
    reached = np.flatnonzero(own >= power)
    if not len(reached):
        raise UndefinedError(
            f"a dose of {grid[-1]:.0%} would be seen with power {own[-1]:.2f} only, under {power:g}"
        )
    doses, drawn = [], list(_resampled_curves(controls, curve))
    for start in range(0, len(drawn), 20):
        enough = powers(drawn[start : start + 20], grid, threshold) >= power
        doses += np.where(enough.any(axis=1), grid[enough.argmax(axis=1)], 1.0).tolist()
    low, high = np.percentile(doses, (2.5, 97.5))
    return {"dose": float(grid[reached[0]]), "interval": [float(low), float(high)], "power": power}


def _resampled_curves(controls, curve):
    """Yield the curve of each of 200 draws of families, drawn among those of the same doses."""
    used = [row for row in family_means(controls) if row[0] in curve.doses]
    doses_of = defaultdict(list)
    for dose, family, _ in used:
        doses_of[family].append(dose)
    keys = [(str(doses_of[family]), family) for _, family, _ in used]
    order = sorted(set(keys), key=repr)
    random, counts = np.random.RandomState(0), {}
    for kind in sorted({kind for kind, _ in order}, key=repr):
        members = [key for key in order if key[0] == kind]
        picks = random.randint(0, len(members), size=(200, len(members)))
        for i, key in enumerate(members):
            counts[key] = (picks == i).sum(axis=1)
    table = np.stack([counts[key] for key in keys], axis=1)  # (200, n)
    dose, score = np.array([row[0] for row in used]), np.array([row[2] for row in used])
    for row in table:
        groups = [np.repeat(score[dose == d], row[dose == d]) for d in curve.doses]
        spreads = np.array([group.std(ddof=1) for group in groups])
        yield DoseCurve(
            curve.doses,
            [group.mean() for group in groups],
            np.where(spreads > 0, spreads, curve.spreads),
            curve.families,
        )


def estimated_dose(controls, score):
    """Return the dose whose controls would score so, by inverse prediction."""
    curve = dose_curve(controls)
    if not curve.means[-1] > curve.means[0]:
        raise UndefinedError("the score does not rise with the dose: it cannot tell doses apart")
    grid = curve.grid()
    mean, spread, freedom = curve.at(grid)
    off = np.abs(score - mean)
    reach = np.array([student_quantile(0.025, int(f)) for f in freedom])
    accepted = grid[off <= reach * spread]
    if not len(accepted):
        side = "above" if score > curve.means[-1] else "below"
        raise UndefinedError(
            f"the score {score:.4g} is {side} what controls of any graded dose give: the recipe of "
            "the controls does not explain it"
        )
    nearest = grid[off <= off.min() + 1e-12 * (1 + abs(score))]
    low = 0.0 if accepted[0] <= curve.doses[0] else accepted[0] - 1 / 1000
    high = 1.0 if accepted[-1] >= curve.doses[-1] else accepted[-1] + 1 / 1000
    return {
        "dose": float((nearest[0] + nearest[-1]) / 2),
        "interval": [max(float(low), 0.0), min(float(high), 1.0)],
        "limits": curve.limits(),
    }


def error_rates(test, graded, threshold):
    """Return how many control families err at a threshold: unlinked ones, and at each dose."""

    def share(dose):
        own = [control for control in graded if control["dose"] == dose]
        if not own:
            return None
        wrong = {c["family"] for c in own if (c["score"] > threshold) != (dose > 0)}
        families = len({c["family"] for c in own})
        limits = clopper_pearson(len(wrong), families)
        value = len(wrong) / families
        return {"count": len(wrong), "families": families, "value": value, "interval": limits}

    doses = sorted({control["dose"] for control in graded} - {0.0})
    return {
        "measure": test,
        "threshold": threshold,
        "false_support": share(0.0),
        "missed": [{"dose": dose, **share(dose)} for dose in doses],
    }


class Weighed:
    """What the calibration says of one suspect."""

    def __init__(self, calibration, evidence):
        self.pairs, self.beyond, self.seen, self.dose, self.reasons = None, [], None, None, []
        self.outside = False
        scores = group_scores(evidence)
        thresholds = _thresholds(evidence)
        if evidence.architecture not in calibration["graded"]:
            graded = ", ".join(calibration["graded"])
            self.reasons.append(f"dose and power are known for {graded} students only")
            thresholds = {}
        try:
            self.pairs, self.beyond = fused(calibration["fusions"], scores)
        except UndefinedError as error:
            self.reasons.append(str(error))
        seen, doses = [], []
        for test, threshold in thresholds.items():
            graded, score = calibration["doses"].get(test, ()), scores[FEATURE_OF[test]]
            seen += self._attempt(seen_dose, graded, threshold)
            if score is not None and score > threshold:
                doses += self._attempt(estimated_dose, graded, score)
        self.seen = min(seen, key=lambda s: s["dose"], default=None)
        self.dose = min(doses, key=lambda d: d["interval"][1] - d["interval"][0], default=None)
        self.error_rates = [
            error_rates(test, calibration["doses"][test], threshold)
            for test, threshold in sorted(thresholds.items())
            if calibration["doses"].get(test)
        ]

    def _attempt(self, compute, graded, number):
        try:
            return [compute(graded, number)]
        except UndefinedError as error:
            self.reasons.append(str(error))
            return []


def _thresholds(evidence):
    """Return, by decisive test, the z above which it reads imitation on its own."""
    enough = evidence.limits["fewest_families"]
    tests = [test for test in evidence.tests if test.place["families"] >= enough]
    alpha = evidence.limits["imitation_alpha"] / max(len(tests), 1)
    found = {}
    for test in tests:
        k = test.place["families"]
        limit = student_quantile(alpha, k - 1) * math.sqrt(1.0 + 1.0 / k)
        found[test.name] = limit if test.closest_z is None else max(limit, test.closest_z)
    return found


_PAIR_OF = {"replication": "replication:independent"}


def conclusions(replay):
    """Yield (suspect, conclusion, reasons that cannot be computed here) for every suspect."""
    case = replay.case
    evidence = {name: Evidence(replay, name) for name in replay.subjects.suspects}
    for e, p in zip(evidence.values(), holm([e.neuron_p for e in evidence.values()])):
        e.neuron_p = p
    tests = [test for e in evidence.values() for test in e.tests]
    for test, p in zip(tests, holm([test.place["predictive_p"] for test in tests])):
        test.p = p
    kept = case.data / "calibration.json"
    calibration = case.json("calibration.json") if kept.is_file() else None
    for name, e in evidence.items():
        weighed, reasons, open_reasons = None, [], calibration is None
        if calibration is not None:
            rows = replay.statistics["suspects"][name]
            measures = [row["measure"] for row in rows if row["value"] is not None]
            population = calibration["population"]
            reason = outside(population, case, name, e.families, measures)
            if reason is None:
                weighed = Weighed(calibration, e)
                reasons = weighed.reasons
            else:
                reasons = [f"outside the population {population['name']}: {reason}"]
        yield name, _conclusion(replay, name, e, weighed, reasons), open_reasons


def _conclusion(replay, name, e, weighed, reasons):
    e.seen_dose = None if weighed is None or weighed.seen is None else weighed.seen["dose"]
    found = conclude(e)
    if weighed is None or weighed.pairs is None:
        found["limits"] += [f"No likelihood ratio: {reason}." for reason in reasons]
    else:
        found["log10_lr"] = {pair: value for pair, (value, _, _) in weighed.pairs.items()}
        pair = _PAIR_OF.get(found["reading"], "imitation:independent")
        if pair in weighed.pairs:
            value, interval, bounds = weighed.pairs[pair]
            found["interval"] = list(interval)
            found["verbal"] = sentence(pair, value, interval, bounds)
            if weighed.beyond:
                found["limits"].append(f"Beyond all controls in: {', '.join(weighed.beyond)}.")
    for subject in replay.case.subjects:
        if subject["role"] != "suspect" or subject["name"] == name:
            found["limits"] += replay.case.server_limits.get(subject["name"], [])
    seen, dose = (None, None) if weighed is None else (weighed.seen, weighed.dose)
    found["scope"] = scopes(replay.statistics.get("scope", {}).get(name, {}))
    found["power"] = None if seen is None else {**seen, "sentence": _seen_sentence(seen)}
    found["dose"] = dose
    found["error_rates"] = [] if weighed is None else weighed.error_rates
    return found


def _seen_sentence(seen):
    low, high = seen["interval"]
    return (
        f"Imitation of at least {math.ceil(seen['dose'] * 100 - 1e-9)} % of the training would "
        f"have been seen in {seen['power']:.0%} of models made by the controls' recipe "
        f"(95 % interval of the dose: {low:.0%} to {high:.0%})."
    )


def check_conclusions(replay):
    """Yield (suspect, outcome, detail) of every conclusion."""
    stated = replay.case.json("conclusion.json")
    if stated.get("rules") not in ("reading/1", "reading/2", "reading/3"):
        for name in replay.subjects.suspects:
            yield name, "not replayable", f"this file knows no rules {stated.get('rules')!r}"
        return
    try:
        drawn = list(conclusions(replay))
    except _MALFORMED as error:
        for name in replay.subjects.suspects:
            yield name, "differs", f"the stored data do not fit together: {error!r}"
        return
    for name, found, open_reasons in drawn:
        theirs = dict(stated["suspects"].get(name, {}))
        note = ""
        if open_reasons:
            # Why no shipped population fits is known to the package only: it is not in the case.
            theirs["limits"] = [
                text for text in theirs.get("limits", ()) if not text.startswith(_NO_RATIO)
            ]
            note = "not replayed: why no likelihood ratio is stated"
        faults = list(differences(theirs, found, DEFAULT_TOLERANCE, "conclusion"))
        yield name, "differs" if faults else "ok", "; ".join(faults) or note


_NO_RATIO = "No likelihood ratio: "


# What stands behind the conclusions. --------------------------------------------------------------


def pattern_of(fusion):
    """Return the name of an access pattern."""
    return "+".join(x["name"] for x in fusion["features"])


def group_scores(evidence):
    """Return the scores of a suspect as the fusions take them."""
    z = {test.name: test.place["z"] for test in evidence.tests}
    return {
        "replication": evidence.neuron_score,
        "span": evidence.places.get("unembedding-span", {}).get("z"),
        "sample": z.get("sample-llr"),
        "idiosyncrasy": z.get("idiosyncratic-agreement"),
    }


def support(calibration, scores):
    """Return the ratios of the fusion and of each line alone."""
    lines, pattern = [], None
    try:
        fusion = select_fusion(calibration["fusions"], scores)
        pattern = pattern_of(fusion)
        lines.append(_supporting("fusion", fusion, scores))
    except UndefinedError as error:
        lines.append({"line": "fusion", "scores": [], "pairs": {}, "undefined": str(error)})
    for one in calibration.get("lines", ()):
        lines.append(_supporting(one["features"][0]["name"], one, scores))
    return {"pattern": pattern, "scores": scores, "lines": lines}


def _supporting(name, fusion, scores):
    names = [x["name"] for x in fusion["features"]]
    row = {"line": name, "scores": names, "pairs": {}, "undefined": None}
    try:
        found = weighed_pairs(fusion, scores)
    except UndefinedError:
        missing = ", ".join(n for n in names if scores.get(n) is None) or "out of its range"
        return row | {"undefined": f"not defined for this suspect: {missing}"}
    for pair, (value, interval, bounds, free) in found.items():
        row["pairs"][pair] = {
            "log10_lr": value,
            "interval": list(interval),
            "unbounded": free,
            "bounds": [bounds["lower"], bounds["upper"]],
            "families": bounds["families"],
            "capped": not bounds["lower"] < free < bounds["upper"],
        }
    return row


def dose_response(calibration, evidence, scores):
    """Return, by decisive test, what graded controls score and where the suspect lies."""
    thresholds, rows = _thresholds(evidence), []
    for test in sorted(calibration["doses"]):
        score = scores[FEATURE_OF[test]]
        row = {"test": test, "score": score, "threshold": thresholds.get(test), "curve": []}
        row["undefined"] = None
        try:
            if score is None:
                raise UndefinedError("the test is not defined for this suspect")
            if evidence.architecture not in calibration["graded"]:
                graded = ", ".join(calibration["graded"])
                raise UndefinedError(
                    f"the graded controls are {graded} students, the suspect is not"
                )
            curve = dose_curve(calibration["doses"][test])
            columns = zip(curve.doses, curve.means, curve.spreads, curve.families)
            row["curve"] = [
                {"dose": float(d), "mean": float(m), "spread": float(s), "families": int(n)}
                for d, m, s, n in columns
            ]
        except UndefinedError as error:
            row["undefined"] = str(error)
        rows.append(row)
    return rows


class Robustness:
    """The tests and ratios of one suspect with one thing left out at a time."""

    def __init__(self, replay, suspect, scores, calibration):
        self.replay, self.suspect, self.scores = replay, suspect, scores
        self.calibration, self.fusion = calibration, None
        if calibration is not None:
            with contextlib.suppress(UndefinedError):
                self.fusion = select_fusion(calibration["fusions"], scores)
        rows = replay.statistics["suspects"][suspect]
        self.rows = {row["measure"].partition("@")[0]: row for row in rows}

    def found(self):
        """Return all of it."""
        tests = {name: self._place(name) for name in DECISIVE if self._known(name)}
        return {
            "base": self._row("none", "", tests, self._ratios(self.fusion, self.scores)),
            "rows": [*self._groups(), *self._families(), *self._categories()],
            "calibration": self._folds(),
        }

    def _known(self, name):
        return self.rows.get(name, {}).get("value") is not None

    def _place(self, name, less=None):
        row = self.rows[name]
        values = self.replay.subjects.null_values(row, self.suspect, less)
        return place_among(row["value"], values, row["closer"])

    @staticmethod
    def _ratios(fusion, scores):
        try:
            return None if fusion is None else point_ratios(fusion, scores)
        except UndefinedError:
            return None

    @staticmethod
    def _row(kind, dropped, tests, ratios):
        keys = ("z", "rank_p", "predictive_p")
        shown = {name: {key: place[key] for key in keys} for name, place in tests.items()}
        return {"kind": kind, "dropped": dropped, "tests": shown, "log10_lr": ratios}

    def _groups(self):
        if self.fusion is None:
            return
        known = [self.calibration.get(key, ()) for key in ("reduced", "lines", "fusions")]
        fitted = {pattern_of(one): one for some in known for one in some}
        names = [x["name"] for x in self.fusion["features"]]
        for name in names:
            less = fitted.get("+".join(other for other in names if other != name))
            if less is not None:
                yield self._row("group", name, {}, self._ratios(less, self.scores))

    def _families(self):
        subjects = self.replay.subjects
        names = [name for name in (*DECISIVE, "unembedding-span") if self._known(name)]
        used = {
            subjects.controls[i]["family"]
            for name in names
            for i in subjects.null_controls(self.rows[name], self.suspect)
        }
        for family in sorted(used):
            places = {name: self._place(name, family) for name in names}
            z = {_SCORE_OF[name]: place["z"] for name, place in places.items()}
            tests = {name: place for name, place in places.items() if name in DECISIVE}
            ratios = self._ratios(self.fusion, {**self.scores, **z})
            yield self._row("control-family", family, tests, ratios)

    def _categories(self):
        stated = self.replay.statistics["without"]
        less = {key.partition("@")[0]: found for key, found in stated.items()}
        for category in sorted({name for found in less.values() for name in found}):
            tests = {}
            for name in DECISIVE:
                values = less.get(name, {}).get(category, {})
                if values.get(self.suspect) is not None:
                    tests[name] = self._among(values)
            if tests:
                z = {FEATURE_OF[name]: place["z"] for name, place in tests.items()}
                ratios = self._ratios(self.fusion, {**self.scores, **z})
                yield self._row("category", category, tests, ratios)

    def _among(self, values):
        subjects = self.replay.subjects
        controls = [values.get(control["name"]) for control in subjects.controls]
        row = {"control_values": controls, "closer": "higher"}
        pool = subjects.null_values(row, self.suspect)
        return place_among(values[self.suspect], pool, "higher")

    def _folds(self):
        if self.fusion is None or not self.fusion.get("folds"):
            return None
        folds = self.fusion["folds"]
        found = {f: point_ratios(self.fusion, self.scores, fit) for f, fit in folds.items()}
        pairs = {}
        for pair in self.fusion["bounds"]:
            ordered = sorted((ratios[pair], family) for family, ratios in found.items())
            pairs[pair] = {
                "lowest": ordered[0][0],
                "without_lowest": ordered[0][1],
                "highest": ordered[-1][0],
                "without_highest": ordered[-1][1],
            }
        return {"families": len(found), "pairs": pairs}


_SCORE_OF = {**FEATURE_OF, "unembedding-span": "span"}


class HeldOut:
    """The controls of one question, each weighed by the fit that did not see its family."""

    def __init__(self, fusion, controls, pair):
        names = [x["name"] for x in fusion["features"]]
        first, second = pair.split(":")
        kept = [
            row
            for row in sorted(controls, key=lambda row: row["subject"])
            if row["class"] in (first, second) and all(n in row["scores"] for n in names)
        ]
        bounds, (one, other) = fusion["bounds"][pair], sides(fusion, pair)
        values = []
        for row in kept:
            own = levels(fusion["folds"][row["family"]], standardised(fusion, row["scores"]))
            values.append(clipped((own[one] - own[other]) / LN10, bounds))
        self.values = np.array(values)
        self.first = np.array([row["class"] == first for row in kept])
        self.families = [row["family"] for row in kept]
        self.weights = self._weights()
        self.pav = self._recalibrated()

    def _weights(self):
        """Return weights: the same for both classes, for families within, for members within."""
        members = Counter(zip(self.first.tolist(), self.families))
        inside = Counter(side for side, _ in members)
        keys = zip(self.first.tolist(), self.families)
        return np.array([len(members) / 2 / inside[s] / members[s, f] for s, f in keys])

    def _recalibrated(self):
        """Return the log10 LRs after pool-adjacent-violators."""
        values, point = np.unique(self.values, return_inverse=True)
        weight = np.bincount(point, self.weights, len(values))
        holds = np.bincount(point, self.weights * self.first, len(values))
        share = isotonic(holds / weight, weight)[point]
        with np.errstate(divide="ignore"):
            return np.log10(share) - np.log10(1.0 - share)

    def counts(self):
        """Return the number of families of both classes."""
        both = {(side, family) for side, family in zip(self.first.tolist(), self.families)}
        return [sum(side == wanted for side, _ in both) for wanted in (True, False)]

    def cllr(self, values):
        """Return the cost in bits."""
        wrong = np.where(self.first, -values, values) * LN10
        bits = np.logaddexp(0.0, wrong) / math.log(2.0)
        return float((self.weights * bits).sum() / self.weights.sum())

    def tippett(self, side):
        """Return (x, share of the class at or above it)."""
        own = self.first == side
        x = np.unique(self.values[own])
        weights = self.weights[own]
        above = [weights[self.values[own] >= value].sum() / weights.sum() for value in x]
        return [x.tolist(), [float(share) for share in above]]

    def entropy(self, values, exponent):
        """Return the empirical cross-entropy at prior odds of 10**exponent, in bits."""
        odds = 10.0**exponent
        at = (exponent + values) * LN10
        nats = np.where(self.first, np.logaddexp(0.0, -at), np.logaddexp(0.0, at))
        means = []
        for side in (True, False):
            own = self.first == side
            means.append((nats[own] * self.weights[own]).sum() / self.weights[own].sum())
        return float((means[0] * odds + means[1]) / (1.0 + odds) / math.log(2.0))

    def rates(self, lr):
        """Return the rates of misleading evidence at one likelihood ratio."""
        limit = math.log10(lr)
        return {
            "lr": float(lr),
            "false_support": self._rate(self.values > limit, ~self.first),
            "false_exclusion": self._rate(self.values < -limit, self.first),
            "missed": self._rate(self.values <= limit, self.first),
        }

    def _rate(self, wrong, rows):
        names = np.array(self.families)
        count, total = len(set(names[wrong & rows])), len(set(names[rows]))
        limits = clopper_pearson(count, total)
        return {"count": count, "families": total, "value": count / total, "interval": limits}


def clopper_pearson(count, total):
    """Return the limits of Clopper and Pearson (95 %), by bisection on the incomplete beta."""
    low = 0.0 if count == 0 else _beta_quantile(count, total - count + 1, 0.025)
    high = 1.0 if count == total else _beta_quantile(count + 1, total - count, 0.975)
    return [low, high]


def _beta_quantile(a, b, wanted):
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if float(incomplete_beta(a, b, middle)) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def validation(fusion, controls):
    """Return the leave-one-family-out validation of a fusion."""
    names = [x["name"] for x in fusion["features"]]
    kept = [row for row in controls if all(name in row["scores"] for name in names)]
    return {
        "controls": sum(row["class"] in fusion["classes"] for row in kept),
        "pairs": {pair: _validated(HeldOut(fusion, kept, pair), fusion["bounds"][pair])
                  for pair in fusion["bounds"]},
        "dependence": [_dependence(fusion, kept, one) for one in ORDER_OF_CLASSES],
        "scores": [_places(kept, n, one) for n in names for one in fusion["classes"]],
    }  # fmt: skip


def _places(controls, name, wanted):
    """Return where the families of a class lie on a score, one mean a family."""
    groups = defaultdict(list)
    for row in controls:
        if row["class"] == wanted:
            groups[row["family"]].append(row["scores"][name])
    means = sorted(math.fsum(own) / len(own) for own in groups.values())
    half = len(means) // 2
    median = means[half] if len(means) % 2 else (means[half - 1] + means[half]) / 2
    found = {"score": name, "class": wanted, "families": len(means)}
    return found | {"lowest": means[0], "median": median, "highest": means[-1]}


ORDER_OF_CLASSES = ("independent", "imitation", "replication")


def _validated(found, bounds):
    order = np.argsort(found.values, kind="stable")
    grid = [step / 10 for step in range(-30, 31)]
    columns = {"lr": found.values, "pav": found.pav, "ignored": np.zeros(len(found.values))}
    return {
        "families": found.counts(),
        "bounds": [bounds["lower"], bounds["upper"]],
        "cllr": found.cllr(found.values),
        "cllr_min": found.cllr(found.pav),
        "misleading": [found.rates(lr) for lr in (1, 10, 100)],
        "curves": {
            "tippett": {"first": found.tippett(True), "second": found.tippett(False)},
            "ece": {
                "log10_prior_odds": grid,
                **{key: [found.entropy(v, at) for at in grid] for key, v in columns.items()},
            },
            "pav": {
                "log10_lr": found.values[order].tolist(),
                "pav": [v if math.isfinite(v) else None for v in found.pav[order].tolist()],
                "first": found.first[order].tolist(),
            },
        },
    }


def _dependence(fusion, controls, wanted):
    """Return the correlation of the scores between the families of one class."""
    names = [x["name"] for x in fusion["features"]]
    groups = defaultdict(list)
    for row in controls:
        if row["class"] == wanted:
            changed = [
                _CHANGE[x["transform"]](row["scores"][x["name"]]) for x in fusion["features"]
            ]
            groups[row["family"]].append(changed)
    means = np.array([np.mean(rows, axis=0) for _, rows in sorted(groups.items())])
    found = {"class": wanted, "scores": names, "families": len(means)}
    found |= {"correlation": None, "effective_lines": None, "undefined": None}
    if len(means) < 4:
        return found | {"undefined": f"{len(means)} families: a correlation needs 4"}
    flat = [name for j, name in enumerate(names) if means[:, j].max() == means[:, j].min()]
    if flat:
        return found | {"undefined": f"{flat[0]} does not vary between families"}
    away = means - means.mean(axis=0)
    length = np.sqrt((away**2).sum(axis=0))
    matrix = (away.T @ away) / np.outer(length, length)
    effective = float(np.trace(matrix) ** 2 / (matrix**2).sum())
    return found | {"correlation": matrix.tolist(), "effective_lines": effective}


def check_details(replay):
    """Yield (kind, suspect, outcome, detail) of what stands behind each conclusion."""
    stated = replay.case.json("conclusion.json")
    kept = replay.case.data / "calibration.json"
    calibration = replay.case.json("calibration.json") if kept.is_file() else None
    for name in replay.subjects.suspects:
        evidence = None
        for kind in ("support", "robustness", "validation"):
            if kind not in stated or "without" not in replay.statistics:
                yield kind, name, "not replayable", "the case was judged by an earlier release"
                continue
            try:
                evidence = Evidence(replay, name) if evidence is None else evidence
                faults = list(_detail_faults(replay, stated, calibration, evidence, kind))
                yield kind, name, "differs" if faults else "ok", "; ".join(faults[:20])
            except _MALFORMED as error:
                yield kind, name, "differs", f"the stored data do not fit together: {error!r}"


def _detail_faults(replay, stated, calibration, evidence, kind):
    name = evidence.suspect
    rows = replay.statistics["suspects"][name]
    measures = [row["measure"] for row in rows if row["value"] is not None]
    used = calibration
    if used is not None and outside(
        used["population"], replay.case, name, evidence.families, measures
    ):
        used = None
    scores = group_scores(evidence)
    if kind == "support":
        found = None if used is None else support(used, scores)
        yield from differences(stated["support"][name], found, _OF_FITS, "support")
        found = [] if used is None else dose_response(used, evidence, scores)
        yield from differences(stated["doses"][name], found, _OF_FITS, "doses")
    elif kind == "robustness":
        found = Robustness(replay, name, scores, used).found()
        yield from differences(stated["robustness"][name], found, _OF_FITS, "robustness")
    elif used is not None:
        pattern = support(used, scores)["pattern"]
        for fusion in used["fusions"]:
            if pattern_of(fusion) == pattern and fusion.get("folds"):
                found = replay.validation_of(pattern, fusion, used["controls"])
                theirs = stated["validation"].get(pattern)
                yield from differences(theirs, found, _OF_FITS, f"validation.{pattern}")


_OF_FITS = {"relative": 1e-9, "absolute": 1e-9}


# The command. -------------------------------------------------------------------------------------


def replayed(folder, workers=1):
    """Return the result of a replay as JSON values; `workers` processes compute it."""
    data = folder / "data" if (folder / "data" / "plan.json").is_file() else folder
    if not (data / "plan.json").is_file():
        raise UnreadableError(f"{folder} holds no case: there is no data/plan.json")
    try:
        replay = Replay(Case(data))
        if set(replay.statistics["suspects"]) != set(replay.subjects.suspects):
            raise UnreadableError("statistics.json is on other suspects than the plan")
        compute_beside(replay, workers)
    except _MALFORMED as error:
        raise UnreadableError(f"{data} is malformed: {error!r}") from error
    lines = [
        {
            "id": row["id"],
            "suspect": suspect,
            "measure": row["measure"],
            "value": row["value"] if _finite(row["value"]) else None,
            "outcome": outcome,
            "detail": detail,
        }
        for suspect, row, outcome, detail in replay.rows()
    ]
    for suspect in replay.subjects.suspects:
        lines.append(_line("scope", suspect, *_part_outcome(replay.scope_faults, suspect)))
        if "without" in replay.statistics:
            lines.append(_line("without", suspect, *_part_outcome(replay.without_faults, suspect)))
    for suspect, outcome, detail in check_conclusions(replay):
        lines.append(_line("conclusion", suspect, outcome, detail))
    for kind, suspect, outcome, detail in check_details(replay):
        lines.append(_line(kind, suspect, outcome, detail))
    counts = Counter(line["outcome"] for line in lines)
    return {
        "schema": "auditor/replay/1",
        "folder": str(folder),
        "numpy": np.__version__,
        "lines": lines,
        "counts": {name: counts[name] for name in ("ok", "differs", "not replayable")},
    }


def _part_outcome(compute, suspect):
    """Return (outcome, detail) of a part of the statistics."""
    try:
        faults = list(compute(suspect))
    except NotReplayableError as error:
        return "not replayable", str(error)
    except _MALFORMED as error:
        return "differs", f"the stored data do not fit together: {error!r}"
    return "differs" if faults else "ok", "; ".join(faults[:20])


def _finite(value):
    return _number(value) and math.isfinite(value)


def _line(kind, suspect, outcome, detail):
    return {
        "id": kind,
        "suspect": suspect,
        "measure": None,
        "value": None,
        "outcome": outcome,
        "detail": detail,
    }


def printable(text):
    """Return a text without characters that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_lines(result):
    """Print one line a statistic, and the counts."""
    for line in result["lines"]:
        value = "undefined" if line["value"] is None else f"{line['value']:.6g}"
        what = f"{line['measure']} {value}" if line["measure"] else ""
        detail = f": {line['detail']}" if line["detail"] else ""
        name = f"{line['id']} {line['suspect']} {what}".strip()
        print(printable(f"{line['outcome']:<14} {name}{detail}"))
    counts = result["counts"]
    print(", ".join(f"{number} {name}" for name, number in counts.items()))


def main(arguments=None):
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    own = Path(__file__).resolve().parent
    parser.add_argument("folder", nargs="?", type=Path, default=own, metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        result = replayed(options.folder, min(available_cores(), MOST_WORKERS))
    except (UnreadableError, *_MALFORMED) as error:
        print(printable(f"{options.folder} cannot be replayed: {error}"), file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=True, allow_nan=False))
    else:
        print_lines(result)
    return 5 if result["counts"]["differs"] else 0


if __name__ == "__main__":
    sys.exit(main())
