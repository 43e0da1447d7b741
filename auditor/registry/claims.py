"""What a card claims, held against the findings of audits.

A claim is contradicted by a reading alone: the conclusion of an audit with its controls, or of a
test whose null holds without them. Nothing of a prefilter, and no raw similarity, contradicts.
Weights in common have no direction: they contradict nobody who says that a model came first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from auditor.registry.card import NO_CARD, Card
from auditor.registry.claim import KINDS, Claim, Kind
from auditor.registry.prose import SOURCE

SCHEMA = "auditor/claims/1"
Status = Literal["consistent", "contradicted", "unverified", "no claim"]
_OF_WEIGHTS = ("neuron-matching", "rederived-share")
Finding = Mapping[str, Any]
"""``auditor/result/1``."""
Aliases = Sequence[tuple[str, str]]
"""Another name of a reference, and the specifier of the reference."""
_SAME = "the findings compare the model with itself alone"
_OPEN = {
    "replication": "who came first is open: it from that model, that model from it, or both from "
    "a third",
    "imitation": "who learned from whom is open",
}
_SILENT: dict[Kind, str] = {
    "base_model": "the card names no base model",
    "from_scratch": "the card does not say that it was trained from scratch",
    "quantised_from": "the card does not say that it is a quantised copy",
    "teachers": "the card declares no teacher",
    "datasets": "the card names no data set",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the findings say of one claim."""

    kind: Kind | Literal["undeclared_link"]
    status: Status
    reason: str
    claim: Claim | None = None
    reference: str | None = None
    """Specifier of the model that the finding compares with."""

    def as_json(self) -> dict[str, Any]:
        """Return the row of ``auditor/claims/1``."""
        claim = self.claim
        return {
            "kind": self.kind,
            "status": self.status,
            "reason": self.reason,
            "reference": self.reference,
            "claim": claim and claim.quote,
            "source": claim and claim.source,
            "target": claim and claim.target,
            "relation": claim and claim.relation,
        }


def held_against(
    card: Card, findings: Sequence[Finding], aliases: Aliases = (), model: str | None = None
) -> tuple[Outcome, ...]:
    """Return an outcome for each claim, for each kind that is not claimed, and for hidden links.

    Args:
        card: what is claimed.
        findings: results of audits of this model; what compares it with itself is passed over.
        aliases: other names of references.
        model: its specifier, where the audits may have been of an equal copy.
    """
    others = [finding for finding in findings if not is_of_itself(finding, model)]
    outcomes: list[Outcome] = []
    for kind in KINDS:
        claims = [claim for claim in card.claims if claim.kind == kind]
        outcomes += [_judged(claim, card, others, aliases) for claim in claims]
        if not claims:
            outcomes.append(Outcome(kind=kind, status="no claim", reason=_SILENT[kind]))
    hidden = [finding for finding in others if not _is_named(finding, card, aliases)]
    outcomes += [_undeclared(f, card, aliases) for f in hidden if _reading(f) != "no-link"]
    if not others:
        outcomes.append(Outcome(kind="undeclared_link", status="unverified", reason=_SAME))
    return tuple(outcomes)


def is_of_itself(finding: Finding, model: str | None = None) -> bool:
    """Whether a finding compares a model with itself: its suspect, or `model`, is the reference."""
    return finding["reference"]["spec"] in (finding["suspect"]["spec"], model)


def _is_named(finding: Finding, card: Card, aliases: Aliases) -> bool:
    return any(_names(claim, finding, aliases) for claim in card.claims)


def _undeclared(finding: Finding, card: Card, aliases: Aliases) -> Outcome:
    """Hold a card that does not name the reference against a finding that is no "no link"."""
    reading, spec = _reading(finding), finding["reference"]["spec"]
    status: Status = "unverified"
    if reading == "inconclusive":
        reason = f"a link to {spec}, which the card does not name, is open: {_undecided([finding])}"
    elif any(problem != NO_CARD for problem in card.problems):
        reason = f"the audit reads {reading} against {spec}, and the card was not read whole"
    elif _is_mentioned(finding, card, aliases):
        reason = f"the audit reads {reading} against {spec}, which the card mentions: read it there"
    else:
        status = "no claim"
        reason = f"the audit reads {reading} against {spec}, and the card names no link to it"
        reason += f"; {_OPEN[reading]}"
    return Outcome(kind="undeclared_link", status=status, reason=reason, reference=spec)


def _is_mentioned(finding: Finding, card: Card, aliases: Aliases) -> bool:
    """Whether the text has a full name of the reference: "base" alone may be any word."""
    names = [name for name in _names_with(finding, aliases) if "/" in name]
    whole = "|".join(re.escape(name) for name in names)
    return bool(names) and bool(re.search(rf"(?<![\w.-])(?:{whole})(?![\w-])", card.text, re.I))


def _judged(claim: Claim, card: Card, findings: Sequence[Finding], aliases: Aliases) -> Outcome:
    if claim.kind == "datasets":
        return _outcome(claim, "unverified", "an audit compares models; it does not test data sets")
    if not findings:
        return _outcome(claim, "unverified", _SAME)
    if claim.kind == "from_scratch":
        named = [finding for finding in findings if _is_named(finding, card, aliases)]
        return _from_scratch(claim, findings, named)
    about = [finding for finding in findings if _names(claim, finding, aliases)]
    if claim.target is None:
        return _outcome(claim, "unverified", "it names no model that could be compared")
    if not about:
        others = ", ".join(sorted({finding["reference"]["spec"] for finding in findings}))
        reason = f"no finding compares with {claim.target}: the references are {others}"
        return _outcome(claim, "unverified", reason)
    judge = _teacher if claim.kind == "teachers" else _derived
    outcomes = [
        replace(judge(claim, finding), reference=finding["reference"]["spec"]) for finding in about
    ]
    found = min(outcomes, key=lambda one: _WEIGHT[one.status])
    doubt = _doubt(claim, card, about, {one.status for one in outcomes}, aliases)
    if found.status == "contradicted" and doubt is not None:
        return replace(found, status="unverified", reason=f"{found.reason}; {doubt}")
    return found


def _doubt(
    claim: Claim, card: Card, about: Sequence[Finding], statuses: set[Status], aliases: Aliases
) -> str | None:
    """Return why findings `about` the model of a claim do not contradict it; None: they do."""
    if "consistent" in statuses:
        specs = ", ".join(sorted({finding["reference"]["spec"] for finding in about}))
        return f"the findings disagree: {specs}"
    if not claim.plain:
        return "but that need not be said of the weights of this model"
    if claim.source != SOURCE:
        return None
    declared = [
        one
        for one in card.claims
        if one.kind in ("base_model", "teachers") and one.kind != claim.kind
    ]
    if any(_names(one, finding, aliases) for one in declared for finding in about):
        return "but the same card declares that model as its base or teacher"
    return None


_WEIGHT: dict[Status, int] = {"contradicted": 0, "consistent": 1, "unverified": 2, "no claim": 3}
"""Of several findings on one claim the gravest stands."""


def _from_scratch(claim: Claim, findings: Sequence[Finding], named: Sequence[Finding]) -> Outcome:
    readings = {_reading(finding) for finding in findings}
    for finding in findings:
        spec = finding["reference"]["spec"]
        if _reading(finding) == "replication":
            also = ", which the same card names" if finding in named else ""
            reason = f"the audit reads replication: it shares weights with {spec}{also}; "
            return _outcome(claim, "unverified", reason + _OPEN["replication"], spec)
    if readings == {"no-link"} and all(map(_weights_compared, findings)):
        compared = ", ".join(finding["reference"]["spec"] for finding in findings)
        reason = f"no link to {compared} was found; of other models nothing is known"
        return _outcome(claim, "consistent", reason, compared)
    if "imitation" in readings:
        reason = "the audit reads imitation: that is of outputs, and says nothing of first weights"
        return _outcome(claim, "unverified", reason)
    return _outcome(claim, "unverified", _undecided(findings))


def _undecided(findings: Sequence[Finding]) -> str:
    if any(_reading(finding) == "no-link" for finding in findings):
        return "no link was found, and the weights were not compared with every reference"
    return f"the audit is inconclusive: {findings[0]['conclusion']['basis']}"


def _derived(claim: Claim, finding: Finding) -> Outcome:
    """Hold "derives from the weights of" against a finding on that model."""
    reading = _reading(finding)
    if reading == "replication":
        return _outcome(claim, "consistent", f"replication: {finding['conclusion']['basis']}")
    if reading == "inconclusive":
        return _outcome(claim, "unverified", _undecided([finding]))
    if not _weights_compared(finding):
        reason = f"the audit reads {reading} without a comparison of weights"
        return _outcome(claim, "unverified", reason)
    if reading == "no-link":
        reason = "no link to it was found, by its weights neither"
        return _outcome(claim, "contradicted", reason)
    if claim.relation == "quantized":
        reason = "imitation was found, and weights that are not a quantised copy's"
        return _outcome(claim, "contradicted", reason)
    reason = "a link was found, by outputs: that the weights derive from it was not shown"
    return _outcome(claim, "unverified", reason)


def _teacher(claim: Claim, finding: Finding) -> Outcome:
    """Hold "was trained on the outputs of" against a finding on that model."""
    conclusion = finding["conclusion"]
    reading = _reading(finding)
    if reading == "imitation":
        return _outcome(claim, "consistent", f"imitation: {conclusion['basis']}")
    if reading == "replication":
        reason = "it shares weights with the teacher: more than a teacher's outputs"
        return _outcome(claim, "unverified", reason)
    if reading == "inconclusive":
        return _outcome(claim, "unverified", _undecided([finding]))
    seen = (conclusion.get("power") or {}).get("dose")
    if seen is not None and claim.dose is not None and claim.dose >= seen:
        reason = f"no link was found, and a dose of {seen:.0%} or more would have been seen"
        return _outcome(claim, "contradicted", reason)
    least = "what dose would have been seen is not known"
    if seen is not None:
        least = f"a dose below {seen:.0%} would not have been seen, and the card gives none larger"
    return _outcome(claim, "unverified", f"no link was found; {least}")


def _outcome(claim: Claim, status: Status, reason: str, reference: str | None = None) -> Outcome:
    return Outcome(kind=claim.kind, status=status, reason=reason, claim=claim, reference=reference)


def _reading(finding: Finding) -> str:
    return str(finding["conclusion"]["reading"])


def _weights_compared(finding: Finding) -> bool:
    return any(
        row["measure"].partition("@")[0] in _OF_WEIGHTS and row["value"] is not None
        for row in finding["measurements"]
    )


def _names(claim: Claim, finding: Finding, aliases: Aliases) -> bool:
    """Whether a claim names the reference of a finding: by digest, else by name."""
    if claim.digest is not None:
        return bool(claim.digest == finding["reference"]["digest"])
    if claim.target is None:
        return False
    return claim.target.lower() in {name.lower() for name in _names_with(finding, aliases)}


def _names_with(finding: Finding, aliases: Aliases) -> set[str]:
    reference = finding["reference"]["spec"]
    return names_of(reference) | {name for name, spec in aliases if spec == reference}


def names_of(spec: str) -> set[str]:
    """Return the names that a specifier's model goes by: ``org/name``, and the last part.

    A hub id is known whole only: models of one name by two owners are two models.
    """
    scheme, colon, rest = spec.partition(":")
    body = (rest if colon else scheme).partition("?")[0]
    if scheme == "hf":
        return {spec, body.partition("@")[0]}
    parts = [part for part in body.removesuffix(".gguf").split("/") if part]
    return {spec, body, "/".join(parts[-2:]), *parts[-1:]}
