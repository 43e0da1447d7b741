"""How much is lost: the same measures on whole distributions and on their sketches.

For models that are both at hand, so that the parties of an exchange can choose k beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.errors import AccessError, VocabularyError
from auditor.fingerprint.comparing import SKETCHES
from auditor.fingerprint.file import Fingerprint
from auditor.fingerprint.making import ProbeRows, Sketching, probe_rows
from auditor.fingerprint.pairs import SKETCHED, Comparison, Member
from auditor.fingerprint.plan import Agreed, Terms, check_sizes, terms_of
from auditor.kernels import agreement
from auditor.measures._run import measure_pair
from auditor.models import open_model
from auditor.outputs import OutputSet, Pair
from auditor.types import Access, Array, ModelRef, Probe

MEASURES = (*SKETCHES, "logit-top1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    ref: ModelRef
    rows: list[ProbeRows]
    vocabulary: int
    width: int

    def fingerprint(self, name: str, terms: Terms) -> Fingerprint:
        sketching = Sketching(self.vocabulary, self.width, terms)
        for one in self.rows:
            sketching.add(one)
        subject = {
            "digest": self.ref.digest,
            "tokenizer_digest": self.ref.tokenizer_digest,
            "architecture": self.ref.architecture,
            "vocabulary": self.vocabulary,
        }
        content = {"name": name, "subject": subject, "terms": terms.content, "tensors": []}
        arrays = sketching.arrays()
        return Fingerprint(path=Path(name), digest="", content=content, arrays=arrays)

    def outputs(self, name: str, probes: tuple[Probe, ...]) -> OutputSet:
        states = np.zeros((len(probes), self.width))
        for one in self.rows:
            states[one.probe] = one.mean_state
        return OutputSet(subject=name, model=self.ref, probes=probes, hidden=states)


def precision_rows(
    specs: tuple[str, str], agreed: Agreed, projections: Sequence[int], draws: int = 1
) -> list[dict[str, Any]]:
    """Return a row for each measure and k: the full value, the sketched one, their difference.

    Args:
        specs: suspect and reference.
        agreed: the terms, of which `projections` is replaced.
        projections: the k.
        draws: seeds of the projections; more than one give the mean and the root mean square error.

    Raises:
        AccessError: a model's logits are not at hand.
        VocabularyError: the models have different tokenizers.
        InputError: a number cannot be used.
    """
    terms = [terms_of(replace(agreed, projections=k)) for k in projections]
    check_sizes({**terms[0].content, "seed": agreed.seed + draws - 1})
    suspect, reference = (_side(spec, terms[0]) for spec in specs)
    if suspect.ref.tokenizer_digest != reference.ref.tokenizer_digest:
        raise VocabularyError(
            f"{specs[0]} and {specs[1]} have different tokenizers",
            hint="name two models of one tokenizer",
        )
    probes = terms[0].probes
    full = _values(_full_pair(suspect, reference, probes))
    rows = []
    for one in terms:
        found = [
            _values(_sketched_pair(suspect, reference, _drawn(one, draw))) for draw in range(draws)
        ]
        rows += [_row(name, value, [f[name] for f in found], one) for name, value in full.items()]
    return rows


def _drawn(terms: Terms, draw: int) -> Terms:
    """Return terms with the same probes and other projections."""
    return replace(terms, content={**terms.content, "seed": terms.content["seed"] + draw})


def _row(name: str, full: float, sketched: Sequence[float], terms: Terms) -> dict[str, Any]:
    errors = np.array(sketched) - full
    return {
        "measure": name,
        "projections": terms.content["projections"],
        "draws": len(sketched),
        "full": full,
        "sketched": float(np.mean(sketched)),
        "rms_error": float(np.sqrt(np.mean(errors**2))),
    }


def _side(spec: str, terms: Terms) -> _Side:
    model = open_model(spec, dtype="float32")
    try:
        if model.ref.access < Access.LOGITS:
            raise AccessError(
                f"{spec} offers {model.ref.access.name} access only; logits are needed",
                hint="name a model whose weights are at hand",
            )
        vocabulary, width = model.head().weight.shape
        rows = list(probe_rows(model, terms.probes, terms.content["positions"]))
        return _Side(ref=model.ref, rows=rows, vocabulary=int(vocabulary), width=int(width))
    finally:
        model.close()


def _full_pair(suspect: _Side, reference: _Side, probes: tuple[Probe, ...]) -> Pair:
    return Pair(
        reference=reference.outputs("reference", probes),
        suspect=suspect.outputs("suspect", probes),
        positions=np.concatenate(
            [_full_rows(a, b) for a, b in zip(reference.rows, suspect.rows, strict=True)]
        ),
    )


def _full_rows(a: ProbeRows, b: ProbeRows) -> Array:
    """Return (T,) rows of the exact values in the columns that sketches estimate."""
    import torch

    found = agreement(a.logp, b.logp, torch.from_numpy(a.targets.astype(np.int64)))
    rows = np.zeros(len(a.targets), dtype=SKETCHED)
    rows["probe"], rows["token"] = a.probe, a.byte_ends
    for name in SKETCHED.names or ():
        if name not in ("probe", "token"):
            rows[name] = getattr(found, name).numpy()
    return rows


def _sketched_pair(suspect: _Side, reference: _Side, terms: Terms) -> Pair:
    first = Member(
        label="reference", role="reference", file=reference.fingerprint("reference", terms)
    )
    other = Member(label="suspect", role="suspect", file=suspect.fingerprint("suspect", terms))
    case = Comparison(reference=first, others=(other,), probes=terms.probes)
    return case.sketched("suspect")


def _values(pair: Pair) -> dict[str, float]:
    """Return the defined measures by name."""
    found = measure_pair(pair, seed=0, resamples=0, names=MEASURES)
    return {m.measure.partition("@")[0]: m.value for m in found if m.value is not None}
