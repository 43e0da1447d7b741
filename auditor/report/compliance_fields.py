"""The fields that the EU AI Act asks a provider to state, and what a case holds on each.

Article 53(1), Annexes XI and XII of Regulation (EU) 2024/1689, and the template for the public
summary of training content; points are named in our own words.
"""

from collections.abc import Iterator

from auditor.report import words
from auditor.report.findings import Findings

_NOTHING = "nothing: not observable from models"
Field = tuple[str, str, str]


def fields(findings: Findings) -> Iterator[Field]:
    """Yield (field, what the case holds, what it cannot say) on one suspect."""
    yield from _summary(findings)
    yield from _annex_xi(findings)
    yield from _annex_xii(findings)
    yield "Article 53(1)(c): policy on copyright", _NOTHING, "whether there is one and is kept"


def _summary(findings: Findings) -> Iterator[Field]:
    ref = findings.suspect.ref
    yield (
        "Summary 1.1: provider",
        "parties as the plan names them, under “Matter and instructions”",
        "who placed the model on the market",
    )
    yield (
        "Summary 1.2: model, and models that it depends on",
        f"specifier {ref['spec']}, weights {ref['digest'] or 'not observable'}; on dependence: "
        f"{_replication(findings)}",
        "names and dates of placing on the market",
    )
    yield (
        "Summary 1.3: modalities, size and dates of the training data",
        "text was examined, nothing else",
        "size, languages and dates of the training data",
    )
    yield (
        "Summary 2.1 to 2.4: public, private, crawled and user data",
        _NOTHING,
        "which of them were used",
    )
    yield (
        "Summary 2.5: synthetic data, and the models that made it",
        _synthetic(findings),
        "whether it was permitted; who made the outputs; models that were not the reference",
    )
    yield "Summary 2.6: other sources", _NOTHING, "which of them were used"
    yield "Summary 3: processing of data, reserved rights", _NOTHING, "how data were processed"


def _annex_xi(findings: Findings) -> Iterator[Field]:
    yield "Annex XI 1(1)(a)-(c): tasks, acceptable use, release", _NOTHING, "all of it"
    yield "Annex XI 1(1)(d): architecture, parameters", _size(findings), "whether it is as stated"
    yield (
        "Annex XI 1(1)(e)-(f): modality, licence",
        "text in, text out, as examined",
        "other modalities; the licence",
    )
    yield (
        "Annex XI 1(2)(b): design and training methods",
        _method(findings),
        "key choices, assumptions, what was optimised",
    )
    yield (
        "Annex XI 1(2)(c): type and provenance of training data",
        _synthetic(findings),
        "provenance of anything that is not output of the reference",
    )
    yield "Annex XI 1(2)(d)-(e): computing resources, energy", _NOTHING, "all of it"
    yield (
        "Annex XI 2: evaluation and adversarial testing (systemic risk)",
        "nothing: similarity is no evaluation of capability or risk",
        "all of it",
    )


def _annex_xii(findings: Findings) -> Iterator[Field]:
    yield (
        "Annex XII 1: general description for providers downstream",
        f"{_size(findings)}; tokenizer {findings.suspect.ref['tokenizer_digest'] or 'unknown'}",
        "tasks, use, release, licence",
    )
    yield "Annex XII 2(a)-(b): integration, formats, sizes", _NOTHING, "all of it"
    yield (
        "Annex XII 2(c): type and provenance of training data",
        _synthetic(findings),
        "provenance of anything that is not output of the reference",
    )


def _size(findings: Findings) -> str:
    ref = findings.suspect.ref
    if ref["architecture"] is None:
        return "nothing: the weights were not observable"
    count = f", {ref['parameters']:,} parameters" if ref["parameters"] else ""
    return f"{ref['architecture']}{count}, read from the model itself"


def _replication(findings: Findings) -> str:
    reading = findings.conclusion["reading"]
    if reading == "replication":
        return f"the findings support that its weights derive from {findings.reference.name}"
    ratio = (findings.conclusion["log10_lr"] or {}).get("replication:independent")
    if ratio is None:
        return "no likelihood ratio is stated"
    more = "more" if ratio >= 0 else "less"
    times = words.number(10 ** abs(ratio), 2)
    return f"{times} times {more} probable findings if derived than if independent"


def _synthetic(findings: Findings) -> str:
    conclusion, reference = findings.conclusion, findings.reference.name
    said = [f"reading {conclusion['reading']} with regard to {reference}"]
    ratio = (conclusion["log10_lr"] or {}).get("imitation:independent")
    if ratio is not None:
        more = "more" if ratio >= 0 else "less"
        times = words.number(10 ** abs(ratio), 2)
        said.append(f"findings {times} times {more} probable if it imitated than if not")
    if conclusion["dose"]:
        said.append(f"dose about {words.number(100 * conclusion['dose']['dose'], 2)} %")
    said.append(
        "power stated" if conclusion["power"] else "power not known, so no finding excludes it"
    )
    return "; ".join(said)


def _method(findings: Findings) -> str:
    via = findings.conclusion["via"]
    if findings.conclusion["reading"] != "imitation":
        return "nothing on the method of training"
    route = {"logits": "of its probabilities", "text": "of its texts"}.get(via or "")
    return f"imitation {route} is supported" if route else "imitation, by a route that stays open"
