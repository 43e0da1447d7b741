"""Make a fingerprint of a model at hand: what it expects after the words of shared probes.

The texts are the words of the probes as they stand: a chat template would differ between the two
parties, and replies would be text that leaves one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import auditor
from auditor.errors import AccessError, InputError
from auditor.fingerprint.file import SCHEMA, check_name, packed
from auditor.fingerprint.plan import Terms, state_numbers
from auditor.fingerprint.tensors import SketchedTensors, sketched_tensors
from auditor.kernels.sketches import DistributionSketcher, gaussian, generator
from auditor.models import open_model
from auditor.models.replies_only import prompt_text
from auditor.models.unembedding import logits_of
from auditor.progress import Progress
from auditor.types import Access, Array, Probe

if TYPE_CHECKING:
    import torch

    from auditor.models.base import Encoded, Model

BUCKETS = 256
"""Keyed hashes of the likeliest token: unequal tokens share one in 1 of 256 positions."""
_LOGITS = 1 << 22  # held at a time
_LEAST_LOGP = -1e4  # no infinity enters a file


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRows:
    """What one model expects at the chosen positions of one probe."""

    probe: int
    byte_ends: Array
    """(T,) UTF-8 bytes of the probe's words that are read so far."""
    logp: "torch.Tensor"
    """(T, V) float64."""
    targets: Array
    """(T,): the token that follows."""
    mean_state: Array
    """(D,) float64: final hidden state, averaged over all positions."""


def make_fingerprint(
    spec: str, name: str, terms: Terms, progress: Progress, device: str | None = None
) -> dict[str, Any]:
    """Return the content of a fingerprint.

    Args:
        spec: the model; it does not enter the file.
        name: what the file calls it.
        terms: what was agreed.
        progress: shows the probes.
        device: where the model runs; None takes a GPU where there is one.

    Raises:
        AccessError: the model's logits are not at hand.
        InputError: it cannot be loaded, or read the probes, or `name` cannot be written.
    """
    check_name(name)
    model = open_model(spec, device=device, dtype="float32")
    try:
        if model.ref.access < Access.LOGITS:
            raise AccessError(
                f"{spec} offers {model.ref.access.name} access only; a fingerprint needs logits",
                hint="name a model whose weights are at hand",
            )
        arrays = _sketched(model, terms, progress)
        subject = _subject(model)
    finally:
        model.close()
    tensors = sketched_tensors(spec, terms, progress)
    if tensors.sums is not None:
        arrays["tensors"] = tensors.sums
    return _content(name, terms, subject, arrays, tensors)


def _content(
    name: str,
    terms: Terms,
    subject: dict[str, Any],
    arrays: dict[str, Array],
    tensors: SketchedTensors,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "auditor": auditor.__version__,
        "name": name,
        "terms": terms.content,
        "terms_digest": terms.digest,
        "subject": subject,
        "arrays": {key: packed(values) for key, values in arrays.items()},
        "tensors": tensors.rows,
        "missing": tensors.missing,
    }


def _subject(model: "Model") -> dict[str, Any]:
    ref = model.ref
    return {
        "digest": ref.digest,
        "tokenizer_digest": ref.tokenizer_digest,
        "template_digest": ref.template_digest,
        "parameters": ref.parameters,
        "architecture": ref.architecture,
        "vocabulary": model.head().vocabulary,
        "width": int(model.head().weight.shape[1]),
    }


def _sketched(model: "Model", terms: Terms, progress: Progress) -> dict[str, Array]:
    vocabulary, width = model.head().weight.shape
    sketching = Sketching(int(vocabulary), int(width), terms)
    with progress.task("fingerprint", len(terms.probes)) as task:
        for rows in probe_rows(model, terms.probes, terms.content["positions"]):
            sketching.add(rows)
            task.advance()
    return sketching.arrays()


class Sketching:
    """The arrays of a fingerprint while they grow by one probe after the other."""

    def __init__(self, vocabulary: int, width: int, terms: Terms) -> None:
        """Draw the projections that the terms ask for."""
        self._k, self._seed = terms.content["projections"], terms.content["seed"]
        self._sketcher = DistributionSketcher(vocabulary, self._k, self._seed)
        drawn = generator(self._seed, "top1").randint(0, BUCKETS, size=vocabulary)
        self._buckets = drawn.astype(np.uint8)
        self._states = np.zeros((len(terms.probes), width))
        self._parts: dict[str, list[Array]] = {}

    def add(self, rows: ProbeRows) -> None:
        """Add one probe."""
        count = len(rows.targets)
        logp = rows.logp.numpy()[np.arange(count), rows.targets]
        found = {
            "probe": np.full(count, rows.probe, dtype=np.int32),
            "byte_end": rows.byte_ends.astype(np.int32),
            "hellinger": self._sketcher.hellinger(rows.logp).numpy(),
            "js": self._sketcher.js(rows.logp).numpy(),
            "top1": self._buckets[rows.logp.argmax(dim=1).numpy()],
            "logp": np.maximum(logp, _LEAST_LOGP).astype(np.float32),
        }
        for name, values in found.items():
            self._parts.setdefault(name, []).append(values)
        self._states[rows.probe] = rows.mean_state

    def arrays(self) -> dict[str, Array]:
        """Return all of them by name.

        Raises:
            InputError: no probe was added.
        """
        if not self._parts:
            raise InputError("no probe has two tokens or more", hint="name other suites (--suite)")
        found = {name: np.concatenate(values) for name, values in self._parts.items()}
        return {**found, "hidden": projected_states(self._states, self._k, self._seed)}


def projected_states(states: Array, k: int, seed: int) -> Array:
    """Return (P, k') float32 projections of (P, D) mean states, k' at most half of D.

    As many as D numbers would be the states themselves, in other coordinates.
    """
    width = states.shape[1]
    kept = state_numbers(width, k)
    matrix = gaussian(width, kept, seed, "hidden").numpy().astype(np.float64)
    return np.asarray((states @ matrix / np.sqrt(kept)).astype(np.float32))


def probe_rows(model: "Model", probes: Sequence[Probe], most: int) -> Iterator[ProbeRows]:
    """Yield what a model expects in each probe that has two tokens or more, in order.

    Args:
        model: with logits.
        probes: whose words are read.
        most: positions of one probe, evenly spaced over its tokens.
    """
    encoded = [model.encode(prompt_text(probe)) for probe in probes]
    usable = [number for number, one in enumerate(encoded) if len(one.token_ids) > 1]
    states = model.hidden([_cut(encoded[number], model.longest) for number in usable])
    for number, hidden in zip(usable, states, strict=True):
        yield _rows(model, number, encoded[number], hidden, most)


def _cut(encoded: "Encoded", longest: int | None) -> Sequence[int]:
    return encoded.token_ids[:longest]


def _rows(
    model: "Model", number: int, encoded: "Encoded", hidden: "torch.Tensor", most: int
) -> ProbeRows:
    import torch

    scored = len(hidden) - 1
    chosen = np.unique(np.linspace(0, scored - 1, min(most, scored)).round().astype(np.int64))
    head = model.head()
    logp = []
    for part in np.array_split(chosen, max(1, len(chosen) * head.vocabulary // _LOGITS)):
        with torch.inference_mode():
            rows = hidden[torch.from_numpy(part).to(hidden.device)].to(head.weight.device)
            logits = logits_of(head, rows).double()
            logp.append((logits - logits.logsumexp(dim=1, keepdim=True)).cpu())
    ids, ends = np.array(encoded.token_ids), np.array(encoded.byte_ends)
    return ProbeRows(
        probe=number,
        byte_ends=ends[chosen],
        logp=torch.cat(logp),
        targets=ids[chosen + 1],
        mean_state=hidden.double().mean(dim=0).cpu().numpy(),
    )
