"""What the answers of other tools mean in our terms: a score, their word, and whom it accuses.

Each function reads what `peer_process` returns for one pair. An abstention ("unresolved",
"inconclusive", "weak match") accuses nobody: a tool is charged only with what it asserts.
"""

import math
from collections.abc import Mapping
from typing import Any

from auditor.controls.comparison.opponent import PeerResult

_MODELDNA_POSITIVE = frozenset(
    ("EXACT_COPY", "QUANTIZED_COPY", "FINE_TUNE", "SAME_LINEAGE", "LIKELY_MERGE")
)
_LINEAGE_POSITIVE = frozenset(("derived_from_base", "likely_descendant"))
_DIFF_POSITIVE = frozenset(
    ("identical", "lora_like", "targeted_fine_tune", "continued_pretraining", "post_training")
)
_CISCO_POSITIVE = frozenset(("Confirmed Match", "High-Confidence Match"))
_CISCO_THRESHOLD = 0.75  # provenancekit/config/constants.py SIMILARITY_THRESHOLD


def modeldna(answer: Mapping[str, Any], version: str) -> tuple[PeerResult, ...]:
    """Return the reading of modelDNA's probability that the suspect is derived.

    Shapes or depths that differ are ruled out by the tool: NO_MATCH without a probability, here
    the bottom of its scale, 0. INSUFFICIENT has no score. The probability is that of derived
    weights, so it states a likelihood ratio (at even odds) on replication alone.
    """
    word = str(answer["verdict"])
    probability = stated = answer["probability"]
    best = (answer.get("candidates") or [{}])[0]
    if probability is None and word == "NO_MATCH":
        probability = 0.0
    answered = word != "INSUFFICIENT"
    accuses = word in _MODELDNA_POSITIVE if answered else None
    return (
        PeerResult(
            reading="modeldna",
            version=version,
            score=None if probability is None else float(probability),
            stated={} if not stated else {"replication": math.log10(stated / (1 - stated))},
            verdict=word,
            accuses_replication=accuses,
            accuses_any=accuses,
            failure=None if probability is not None else f"no score with {word}",
            raw={
                "ruled_out": best.get("ruled_out"),
                **{
                    name: best.get("evidence", {}).get(f"{name}_mean")
                    for name in ("sigma_r", "vector_cos", "pcs_cos", "spectra_r")
                },
            },
        ),
    )


def weightscope(answer: Mapping[str, Any], version: str) -> tuple[PeerResult, ...]:
    """Return the two readings of weightscope: of its `lineage` and of its `diff` command.

    The score of the first is the share of equal weights; of the second minus the median over
    tensors of the largest change, the quantity that its label turns on.
    """
    lineage, diff = answer["lineage"], answer["diff"]
    derived, touched = lineage["verdict"] in _LINEAGE_POSITIVE, diff["label"] in _DIFF_POSITIVE
    change = diff["median_max_delta"]
    return (
        PeerResult(
            reading="weightscope-lineage",
            version=version,
            score=float(lineage["sparsity"]),
            verdict=str(lineage["verdict"]),
            accuses_replication=derived,
            accuses_any=derived,
        ),
        PeerResult(
            reading="weightscope-diff",
            version=version,
            score=None if change is None else -float(change),
            verdict=str(diff["label"]),
            accuses_replication=touched,
            accuses_any=touched,
            failure=None if change is not None else "no tensor of equal shape",
            raw={"confidence": diff["confidence"], "headline": diff["headline"]},
        ),
    )


def provenancekit(answer: Mapping[str, Any], version: str) -> tuple[PeerResult, ...]:
    """Return the two readings of Cisco's kit: the gated score it decides by, and its weights part.

    `provenance-kit` is the tool as it is: where architecture and tokenizer match, the gate returns
    its score without looking at a weight. `provenance-kit-identity` is the score of the weights
    alone, with the tool's own threshold; the tool prints no word for it.
    """
    scores = answer["scores"]
    word, identity = str(scores["provenance_decision"]), scores["identity_score"]
    answered = word != "Insufficient data"
    gated = word in _CISCO_POSITIVE if answered else None
    above = None if identity is None else float(identity) > _CISCO_THRESHOLD
    return (
        PeerResult(
            reading="provenance-kit",
            version=version,
            score=float(scores["pipeline_score"]) if answered else None,
            verdict=word,
            accuses_replication=gated,
            accuses_any=gated,
            failure=None if answered else "insufficient data",
            raw={"mfi_tier": scores["mfi_tier"], "mfi_match": scores["mfi_match"]},
        ),
        PeerResult(
            reading="provenance-kit-identity",
            version=version,
            score=None if identity is None else float(identity),
            accuses_replication=above,
            accuses_any=above,
            failure=None if identity is not None else "no weights could be compared",
            raw=dict(answer["signals"]),
        ),
    )


def modelaudit_reef(answer: Mapping[str, Any], version: str) -> tuple[PeerResult, ...]:
    """Return the reading of modelaudit's white-box method: mean biased CKA over layers."""
    derived = bool(answer["is_derived"])
    return (
        PeerResult(
            reading="modelaudit-reef",
            version=version,
            score=float(answer["similarity"]),
            verdict="derived" if derived else "not derived",
            accuses_replication=derived,
            accuses_any=derived,
            raw={"threshold": answer["threshold"]},
        ),
    )


def modelaudit_audit(answer: Mapping[str, Any], version: str) -> tuple[PeerResult, ...]:
    """Return the reading of modelaudit's main command, from texts alone.

    The score is the mean similarity of its methods, which its verdict falls back on. The word
    means that one was distilled from the other: it does not speak of weights.
    """
    methods = {name: dict(found) for name, found in sorted(answer["methods"].items())}
    similarities = [float(found["similarity"]) for found in methods.values()]
    word = str(answer["verdict"])
    return (
        PeerResult(
            reading="modelaudit-audit",
            version=version,
            score=sum(similarities) / len(similarities) if similarities else None,
            verdict=word,
            accuses_any=word == "likely_derived",
            failure=None if similarities else "no method answered",
            raw={**methods, "confidence": answer["confidence"]},
        ),
    )
