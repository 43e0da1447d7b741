"""What an audit will ask servers for: requests, tokens, cost and time, before anything is asked.

Tokens are upper limits: one for each byte of a prompt, and as many new ones as are allowed. Time is
that of a request divided by the requests that go at once: measured where the case has exchanges
already, assumed otherwise, and then good for the order of magnitude alone. What was answered in an
earlier run is subtracted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.case import Case
from auditor.collect.servers import ServerTerms
from auditor.collect.suite import load_suite
from auditor.exchanges import exchange_path, is_served, log_owner, read_exchanges
from auditor.models.openai_replies import request_body
from auditor.models.server_access import MOST_LOGPROBS
from auditor.models.server_address import server_address
from auditor.models.server_budget import Budget, most_tokens
from auditor.models.specifier import parse
from auditor.types import Access, Decoding, Probe

SCHEMA = "auditor/forecast/1"
ASSUMED_SECONDS = 2.0
"""Of a request to a hosted model that gives some fifty tokens."""


def forecast(plan: dict[str, Any], root: Path, terms: ServerTerms) -> dict[str, Any]:
    """Return what is left to ask for each subject, and in total; asks nobody, writes nothing.

    Args:
        plan: of the case.
        root: the folder of the case, which need not be there.
        terms: limits, prices and how many requests go at once.

    Raises:
        InputError: prices without one of the models.
        SuiteError: a suite of the plan cannot be read any more.
    """
    case, probes = Case(root), _probes(plan)
    served = [s for s in plan["subjects"] if is_served(s["spec"])]
    terms.limits.check(parse(subject["spec"]).rest for subject in served)
    spent = Budget(terms.limits)
    for path in sorted((case.data / "exchanges").rglob("*.jsonl")):
        spent.count(read_exchanges(path))
    rows = []
    for subject in plan["subjects"]:
        first = log_owner(plan, subject["spec"]) == subject["name"]
        asked = is_served(subject["spec"]) and first
        rows.append(_row(case, plan, subject, probes if asked else (), terms))
    prices = terms.limits.prices
    return {
        "schema": SCHEMA,
        "currency": None if prices is None else prices.currency,
        "subjects": rows,
        "total": {key: _total(rows, key) for key in _SUMMED},
        "spent": {"requests": spent.requests, "cost": None if prices is None else spent.cost},
        "limits": {"requests": terms.limits.requests, "cost": terms.limits.cost},
    }


_SUMMED = ("requests", "prompt_tokens", "completion_tokens", "cost", "seconds")


def _total(rows: Sequence[dict[str, Any]], key: str) -> Any:
    values = [row[key] for row in rows]
    return None if None in values else sum(values)


def _probes(plan: dict[str, Any]) -> list[Probe]:
    chosen = []
    for suite in plan["suites"]:
        name = suite.get("source", f"{suite['name']}@{suite['version']}")
        wanted = set(suite["probes"])
        chosen += [probe for probe in load_suite(name).probes if probe.id in wanted]
    return chosen


def _row(
    case: Case,
    plan: dict[str, Any],
    subject: dict[str, Any],
    probes: Sequence[Probe],
    terms: ServerTerms,
) -> dict[str, Any]:
    about = {key: subject[key] for key in ("name", "role", "spec")}
    if not probes:
        none = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0}
        return {**about, **none, "cost": _cost(terms, None), "time": "nothing to ask a server"}
    specifier = parse(subject["spec"])
    decoding = Decoding(**plan["decoding"])
    answered, seconds = _history(case, subject["name"])
    bodies = [request_body(probe, specifier.rest, decoding, 0, None)[1] for probe in probes]
    counts = [most_tokens(body) for body in bodies for _ in range(plan["repeats"])]
    # Of the repeats that were answered nobody knows here which: the rest costs its share.
    left = max(0, len(counts) - answered)
    share = left / len(counts)
    probing = 0 if answered else _access_calls(plan, probes)
    sent, drawn = (round(share * sum(column)) for column in zip(*counts, strict=True))
    return {
        **about,
        "requests": left + probing,
        "prompt_tokens": sent,
        "completion_tokens": drawn,
        "cost": _cost(terms, (specifier.rest, left, sent, drawn)),
        "seconds": (left + probing) * (seconds or ASSUMED_SECONDS) / _at_once(subject, terms),
        "time": "assumed" if seconds is None else "measured",
    }


def _cost(terms: ServerTerms, counts: tuple[str, int, int, int] | None) -> float | None:
    prices = terms.limits.prices
    if prices is None:
        return None
    if counts is None:
        return 0.0
    model, requests, sent, drawn = counts
    price = prices.of(model)
    return price.cost(sent, drawn) + price.request * (requests - 1)


def _history(case: Case, name: str) -> tuple[int, float | None]:
    """Return how many replies a subject gave already, and the mean seconds of a request."""
    entries = list(read_exchanges(exchange_path(case, name)))
    replies = sum(e["answered"] and "probe_id" in (e.get("about") or {}) for e in entries)
    times = [float(entry["seconds"]) for entry in entries if entry["answered"]]
    return replies, sum(times) / len(times) if times else None


def _access_calls(plan: dict[str, Any], probes: Sequence[Probe]) -> int:
    """Return the most calls that find out which access a server offers."""
    each = 1 if Access[plan["access"]] < Access.TOPK else len(MOST_LOGPROBS) + 1
    return each * len({probe.kind for probe in probes})


def _at_once(subject: dict[str, Any], terms: ServerTerms) -> int:
    typed = [parse(spec) for spec in (*terms.specs, subject["spec"])]
    found = next(one for one in typed if one.canonical == subject["spec"])
    return server_address(found.rest, found.options).concurrency
