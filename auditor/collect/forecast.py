"""What an audit will ask servers for: requests, tokens, cost and time, before anything is asked.

Tokens are upper limits: one for each byte of a request, and as many new ones as are allowed. From
TOPK access on a server may be given the reference's text of each probe besides. Time is
that of a request divided by the requests that go at once: measured where the case has exchanges
already, assumed otherwise, and then good for the order of magnitude alone. What was answered in an
earlier run is subtracted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.case import Case
from auditor.collect.conditions import conditioned, system_of
from auditor.collect.servers import ServerTerms
from auditor.collect.suite import load_suite
from auditor.exchanges import exchange_path, is_served, log_owner, read_exchanges
from auditor.models.openai_replies import request_body
from auditor.models.server_access import CALL_TOKENS, MOST_LOGPROBS
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
        spent.count(read_exchanges(path, growing=True))
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
    done = _history(case, subject["name"])
    asked = (conditioned(probe, system_of(plan)) for probe in probes)
    extra = server_address(specifier.rest, specifier.options).extra_body
    bodies = (request_body(probe, specifier.rest, decoding, 0, None)[1] for probe in asked)
    counts = [most_tokens({**extra, **body}) for body in bodies]
    # Of what was answered nobody knows here which it is: the rest costs its share.
    replies = max(0, plan["repeats"] * len(probes) - done.replies)
    texts = max(0, len(probes) - done.texts) if _scores_texts(plan) else 0
    prompts = sum(sent for sent, _ in counts) / len(counts)
    calls = 0 if done.replies else _access_calls(plan, probes)
    sent = round(prompts * replies + (prompts + decoding.max_new_tokens) * texts)
    sent += CALL_TOKENS[0] * calls
    drawn = decoding.max_new_tokens * replies + texts + CALL_TOKENS[1] * calls
    requests = replies + texts + calls
    each = ASSUMED_SECONDS if done.seconds is None else done.seconds
    return {
        **about,
        "requests": requests,
        "prompt_tokens": sent,
        "completion_tokens": drawn,
        "cost": _cost(terms, (specifier.rest, requests, sent, drawn)),
        "seconds": requests * each / _at_once(subject, terms),
        "time": "assumed" if done.seconds is None else "measured",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What a subject was asked in earlier runs."""

    replies: int
    texts: int
    """Of the reference, that it was given and scored."""
    seconds: float | None
    """Mean of an answered request."""


def _history(case: Case, name: str) -> _Done:
    replies = texts = 0
    times = []
    for entry in read_exchanges(exchange_path(case, name), growing=True):
        if entry["answered"]:
            about = entry.get("about") or {}
            replies += "probe_id" in about
            texts += "text_of" in about
            times.append(float(entry["seconds"]))
    mean = sum(times) / len(times) if times else None
    return _Done(replies=replies, texts=texts, seconds=mean)


def _scores_texts(plan: dict[str, Any]) -> bool:
    return Access[plan["access"]] >= Access.TOPK


def _access_calls(plan: dict[str, Any], probes: Sequence[Probe]) -> int:
    """Return the most calls that find out which access a server offers."""
    kinds = len({probe.kind for probe in probes})
    tried = len(MOST_LOGPROBS)
    return kinds * (tried + 1) + 2 * tried if _scores_texts(plan) else kinds


def _at_once(subject: dict[str, Any], terms: ServerTerms) -> int:
    typed = [parse(spec) for spec in (*terms.specs, subject["spec"])]
    found = next(one for one in typed if one.canonical == typed[-1].canonical)
    return server_address(found.rest, found.options).concurrency
