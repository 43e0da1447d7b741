"""Re-collect a random part of a case from its models, and compare with what is stored.

A statistic is defined on what was stored, so a replay cannot tell whether a model ever said it.
Here the models are asked again: replies drawn with the stored seed must be the same texts, and the
log-probabilities that a subject gives the reference's text the same up to rounding. Nothing is
written into the case.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auditor.case import Case
from auditor.errors import InputError, MissingExtraError, ServerError
from auditor.failed import standing
from auditor.progress import Progress
from auditor.stored import iterate_records, planned_suites, read_array

SCHEMA = "auditor/reproduce/1"
SCORE_TOLERANCE = 1e-3
"""Nats a token: float32 forward passes of other batches and machines differ by some 1e-5."""

_NOT_THERE = (InputError, MissingExtraError, ServerError)
"""What opening or asking a model that is not there any more raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproducing:
    """Which part of a case is collected again, and how closely it must agree."""

    sample: int
    """Records drawn out of all; the other side may choose number and seed."""
    seed: int = 0
    least: float = 1.0
    """Share of the replies that must be the same. A server that batches other people's requests
    does not repeat itself; a local model on one machine does."""
    scores: float = SCORE_TOLERANCE
    """Largest difference of a token's log-probability, in nats."""


@dataclass(slots=True)
class _Found:
    records: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)


def reproduce_case(case: Case, wanted: Reproducing, progress: Progress) -> dict[str, Any]:
    """Return what agrees and what differs, as the JSON object of ``auditor reproduce``.

    Raises:
        CaseError: the case is incomplete or was changed.
        InputError: `wanted` asks for no record, or its limits are none.
    """
    _check(wanted)
    chosen = _drawn_records(case, wanted)
    plan = case.read_json("plan.json")
    subjects = [subject for subject in plan["subjects"] if subject["name"] in chosen]
    found = _Found()
    with progress.task("reproduce", len(subjects)) as task:
        for subject in subjects:
            _reproduce_subject(case, subject, chosen[subject["name"]], wanted, found)
            task.advance()
    return _result(case, wanted, found)


def _check(wanted: Reproducing) -> None:
    if wanted.sample < 1:
        raise InputError(f"a sample of {wanted.sample} records", hint="ask for at least 1")
    if not 0.0 <= wanted.least <= 1.0 or not wanted.scores >= 0.0:
        raise InputError(
            f"no limits: a least share of {wanted.least}, a tolerance of {wanted.scores} nats",
            hint="the share is within [0, 1], the tolerance at least 0",
        )


def _drawn_records(case: Case, wanted: Reproducing) -> dict[str, list[dict[str, Any]]]:
    """Return the drawn records by subject, in plan order: some of those whose reply is shown."""
    names = [subject["name"] for subject in standing(case)]
    places = [
        (name, number)
        for name in names
        for number, record in enumerate(iterate_records(case, name))
        if record["outcome"] not in ("error", "withheld")
    ]
    order = np.random.RandomState(wanted.seed).permutation(len(places))[: wanted.sample]
    kept = {places[index] for index in order.tolist()}
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for number, record in enumerate(iterate_records(case, name)):
            if (name, number) in kept:
                found.setdefault(name, []).append(record)
    return found


def _reproduce_subject(
    case: Case,
    subject: dict[str, Any],
    records: Sequence[dict[str, Any]],
    wanted: Reproducing,
    found: _Found,
) -> None:
    """Add what one subject says again, or why its model is not there."""
    from auditor.collect.shelf import Shelf

    try:
        with Shelf(case.read_json("plan.json")) as shelf, shelf.use(subject) as model:
            again = list(_replies_again(case, model, subject["name"], records))
            scores = list(_scores_again(case, model, subject["name"], records, wanted.scores))
    except _NOT_THERE as error:
        spec, records_lost = subject["spec"], len(records)
        found.missing.append(
            {
                "subject": subject["name"],
                "spec": spec,
                "records": records_lost,
                "reason": error.message,
            }
        )
        return
    found.records += again
    found.scores += scores


def _replies_again(
    case: Case, model: Any, name: str, records: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield each record with what the model says now, drawn in the groups of the collection."""
    from auditor.collect.drawing import draw
    from auditor.collect.sampling import Sampling

    wanted = Sampling.planned(case.read_json("plan.json"), name, model.ref.parameters)
    suites = planned_suites(case)
    waiting = {(r["suite"], r["probe_id"], r["repeat"]): r for r in records}
    for group in wanted.groups(suites):
        own = [key for key in waiting if key[:2] in {(suites[i].id, p.id) for i, p in group}]
        if not own:
            continue
        # All of the group, as it was drawn: a draw rounds with its batch.
        drawn = draw(model, [probe for _, probe in group], wanted)
        for key in own:
            record, reply = waiting.pop(key), drawn.samples.get(key[1:])
            text = None if reply is None else reply.text
            yield {
                "subject": name,
                "suite": key[0],
                "probe": key[1],
                "repeat": key[2],
                "stored": record["text"],
                "found": text,
                "agrees": text == record["text"],
            }


def _scores_again(
    case: Case, model: Any, name: str, records: Sequence[dict[str, Any]], tolerance: float
) -> Iterator[dict[str, Any]]:
    """Yield, for each drawn probe, how far the log-probabilities of the reference's text are off.

    Nothing where the subject has no stored scores.
    """
    from auditor.collect.scoring import score_rows
    from auditor.collect.sequences import reference_texts

    stored = read_array(case, "scores", name)
    if stored is None:
        return
    suites = planned_suites(case)
    numbers = [(suite.id, probe.id) for suite in suites for probe in suite.probes]
    drawn = {numbers.index((record["suite"], record["probe_id"])) for record in records}
    reference = case.read_json("plan.json")["subjects"][0]["name"]
    texts = [text for text in reference_texts(model, case, reference) if text.probe in drawn]
    for text in texts:
        (score,) = model.score([text.prompt + text.reply])
        now, then = score_rows(text, score), stored[stored["probe"] == text.probe]
        same = np.array_equal(now["token"], then["token"])
        off = float(np.abs(now["logprob"] - then["logprob"]).max(initial=0.0)) if same else None
        suite, probe = numbers[text.probe]
        yield {
            "subject": name,
            "suite": suite,
            "probe": probe,
            "tokens": len(then),
            "difference": off,
            "agrees": off is not None and off <= tolerance,
        }


def _result(case: Case, wanted: Reproducing, found: _Found) -> dict[str, Any]:
    same = sum(row["agrees"] for row in found.records)
    enough = same >= wanted.least * len(found.records)
    agrees = enough and all(row["agrees"] for row in found.scores)
    outcome = ("agrees" if agrees else "differs") if found.records else "nothing to compare"
    return {
        "schema": SCHEMA,
        "case": str(case.root),
        "sample": wanted.sample,
        "seed": wanted.seed,
        "tolerance": {"least_share": wanted.least, "score_nats": wanted.scores},
        "outcome": outcome,
        "replies": {"asked": len(found.records), "same": same},
        "records": found.records,
        "scores": found.scores,
        "missing": found.missing,
    }
