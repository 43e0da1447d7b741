"""The sentences of a report, by template. None of them says more than its reading allows."""

import math
import shlex
from typing import Any

GROUP_TITLES = {
    "text": "Text of the replies",
    "distribution": "Token distribution",
    "idiosyncrasy": "Shared idiosyncrasies",
    "representation": "Representation",
    "weights": "Weights",
    "identity": "Is it the same model?",
}
GROUP_MEANINGS = {
    "text": "How alike the written replies are.",
    "distribution": "How alike the probabilities are that both models give to every possible "
    "next token, on the same text.",
    "idiosyncrasy": "Whether the models share what most models do not: errors and inventions.",
    "representation": "How alike the meaning of the replies and the inner states are.",
    "weights": "Whether the weights themselves are related.",
    "identity": "Whether two deployments serve one model: for drift and substitution, no test of "
    "descent.",
}
ROLE_TITLES = {
    "reference": "reference",
    "suspect": "suspect",
    "independent": "independent control",
    "sibling": "sibling control",
    "base": "base-model control",
    "imitation": "imitation control",
    "replication": "replication control",
}
GLOSSARY = (
    ("Reference", "the model that may have been imitated or copied."),
    ("Suspect", "the model whose relation to the reference is the question."),
    ("Control", "a model of known relation to the reference; it shows what similarity is usual."),
    ("Family", "models with a common ancestor or training run; a family counts once."),
    ("Probe", "one input that every model was given; a suite is a fixed, digested set of them."),
    ("Independent", "not trained on the reference's outputs or weights."),
    ("Imitation", "trained on the reference's outputs or probabilities."),
    ("Replication", "weights that derive from the reference's: copied, fine-tuned, quantised."),
    (
        "95 % interval",
        "the range the value would keep to, in 95 of 100 repetitions, if other probes of the "
        "same kind had been drawn. It says nothing about other models.",
    ),
    (
        "Rank p",
        "the share that the suspect and the controls at least as close make of all models "
        "compared; it cannot be smaller than 1 / (control families + 1).",
    ),
    (
        "z",
        "how many standard deviations of the controls the suspect lies closer to the reference "
        "than their mean.",
    ),
    (
        "Predictive p",
        "the chance that one more control family without a link would be as close, if families "
        "scatter as Student's t with (families - 1) degrees of freedom.",
    ),
    (
        "KL divergence",
        "the extra cost, in nats a token, of predicting the reference's text with the "
        "suspect's probabilities; 0 only where both agree exactly.",
    ),
    (
        "Likelihood ratio",
        "how many times more probable the findings are if one proposition is true than if the "
        "other is; 1 favours neither, and below 1 it favours the other. It is not the probability "
        "of a proposition.",
    ),
    ("log10 LR", "the power of ten of a likelihood ratio: 1 is 10 times, 2 is 100, -1 a tenth."),
    (
        "Cap",
        "the most that may be said with so many control families; a ratio beyond it is not "
        "stated, however large the computed one is.",
    ),
    ("Error rate", "how often a test is wrong on models of known truth, with its uncertainty."),
    ("Power", "the chance that imitation of a certain dose would have been seen."),
    ("Dose", "the share of a model's training that was output of the reference."),
    (
        "Access",
        "what of a model was observed: TEXT replies alone, TOPK the likeliest next tokens, LOGITS "
        "all probabilities, WEIGHTS the model itself.",
    ),
    ("Mark", "a text that was put into training data beforehand so that it can be found again."),
    ("Digest", "a fingerprint of bytes (SHA-256): another content gives another digest."),
)
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_TIMES, _MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"
_READINGS = {
    "replication": "The findings support that the weights of {suspect} derive from {reference}",
    "imitation": "The findings support that {suspect} was trained on outputs of {reference}{via}",
    "no-link": "No link of {suspect} to {reference} was found",
}
_RATIOS = {
    "imitation:independent": "if {suspect} imitated {reference} than if it is independent of it",
    "replication:independent": "if {suspect} copies {reference} than if it is independent of it",
    "replication:imitation": "if {suspect} copies {reference} than if it only imitated it",
}
_RATIO_OF_READING = {
    "replication": "replication:independent",
    "imitation": "imitation:independent",
    "no-link": "imitation:independent",
    "inconclusive": "imitation:independent",
}


def number(value: float, digits: int = 4) -> str:
    """Return `value` to `digits` significant digits, readable; tiny and huge ones as powers."""
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-4 <= size < 1e7:
        text = f"{value:,.0f}" if size >= 10 ** (digits - 1) else f"{value:,.{digits}g}"
    else:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa} {_TIMES} 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return text.replace("-", _MINUS, 1) if value < 0 else text


def interval(low: float, high: float) -> str:
    """Return ``low to high``, see `ends`."""
    return " to ".join(ends(low, high))


def ends(low: float, high: float) -> tuple[str, str]:
    """Return both ends with the decimals that give the larger one three significant digits.

    Ends of very different or unusual size are written each on its own.
    """
    size = max(abs(low), abs(high))
    small = min(abs(low), abs(high))
    if not 1e-3 <= size < 1e3 or small < size / 50:
        return number(low, 3), number(high, 3)
    decimals = max(0, 2 - math.floor(math.log10(size)))
    first, second = (f"{end:.{decimals}f}".replace("-", _MINUS) for end in (low, high))
    return first, second


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 probe``, ``2 probes``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def sentence(text: str) -> str:
    """Return `text` with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def question(suspect: str, reference: str) -> str:
    """Return the question that a report answers."""
    return f"How closely does {suspect} mimic {reference}?"


def reading_sentence(conclusion: dict[str, Any], suspect: str, reference: str) -> str:
    """Return the reading in one sentence, with its basis."""
    basis = conclusion["basis"]
    if conclusion["reading"] == "inconclusive":
        if basis == "uncontrolled similarity":
            return (
                f"The similarity of {suspect} to {reference} was measured, but no control model "
                "shows how similar unrelated models are, so nothing can be concluded from it."
            )
        return _screened(basis, suspect, reference)
    names = {"suspect": suspect, "reference": reference}
    via = {"text": ", as text", "logits": ", as probabilities"}.get(conclusion["via"] or "", "")
    return _READINGS[conclusion["reading"]].format(via=via, **names) + f" ({basis})."


def _screened(basis: str, suspect: str, reference: str) -> str:
    """Return the sentence of an inconclusive reading that has controls."""
    kind, _, found = basis.partition(": ")
    if kind != "screening" or not found.startswith("closer to the reference "):
        return sentence(basis)
    place = found.removeprefix("closer to the reference ")
    return (
        f"{suspect} is closer to {reference} {place}. That is a screening, not evidence of a link."
    )


def ratio_sentences(conclusion: dict[str, Any], suspect: str, reference: str) -> list[str]:
    """Return each likelihood ratio in words, never as odds of a hypothesis.

    That of the reading's own pair is the sentence of the conclusion: with its cap, rounded down.
    """
    asked = _RATIO_OF_READING[conclusion["reading"]] if conclusion["verbal"] else None
    sentences = []
    for key, log10_lr in sorted((conclusion["log10_lr"] or {}).items()):
        if key == asked:
            sentences.append(sentence(conclusion["verbal"]))
            continue
        ratio = number(10 ** abs(log10_lr), 2)
        more = "more" if log10_lr >= 0 else "less"
        rival = _RATIOS[key].format(suspect=suspect, reference=reference)
        sentences.append(f"The findings are {ratio} times {more} probable {rival}.")
    return sentences


def not_said(conclusion: dict[str, Any], suspect: str, reference: str) -> list[str]:
    """Return what a reader might take from the reading and must not."""
    reading = conclusion["reading"]
    first = {
        "inconclusive": f"It does not say that {suspect} learned from {reference}, nor that it "
        "did not.",
        "no-link": "It does not say that there is no link: a weaker one than these probes can "
        "show may exist.",
        "imitation": "It does not give the probability that imitation took place: that depends "
        "on everything else known about the case.",
        "replication": "It does not give the probability that a copy was made: that depends on "
        "everything else known about the case.",
    }[reading]
    return [
        first,
        "It does not say which model came first, or who learned from whom.",
        "It says nothing about permission, intent or law.",
    ]


def what_to_add(suspect_spec: str, reference_spec: str) -> str:
    """Return the command that would add controls."""
    specs = " ".join(shlex.quote(spec) for spec in (suspect_spec, reference_spec))
    return f"auditor compare {specs} \\\n  --control SPEC --control SPEC"


def file_size(count: int) -> str:
    """Return bytes as ``12 B``, ``3.4 kB``, ``5.6 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
