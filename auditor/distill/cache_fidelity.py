"""What a logit cache loses, measured on about a thousand positions when the capture ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.distill.batches import padded_batch
from auditor.distill.cache import LogitCache
from auditor.distill.captured import STATES, CapturedTeacher, targets_of
from auditor.distill.objective import Teacher, live_head, scored_states, teacher_states
from auditor.distill.sequences import Sequences
from auditor.distill.student import Student
from auditor.kernels import distillation_loss, linear_agreement
from auditor.kernels.sparse import SparseTargets, TopKTargets
from auditor.models.base import Head
from auditor.models.unembedding import head_of, logits_of

SCHEMA = "auditor/cache-fidelity/1"
POSITIONS = 1024
"""Positions of the sample, about."""
_CHUNK = 128
_BINS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Lower ends of the histogram of entropies, nats."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    """N positions, seen by the teacher, the untrained student and the cache."""

    exact: Tensor
    """(N, Dt) of the teacher."""
    states: Tensor
    """(N, Ds) of the student."""
    kept: dict[str, Tensor]
    """What a batch reads from the cache."""


def cache_fidelity(
    cache: LogitCache,
    teacher: Teacher,
    student: Student,
    store: Sequences,
    rows: Sequence[int],
) -> dict[str, Any]:
    """Return what training from the cache loses against the teacher itself.

    ``reconstruction_kl``: mean KL(kept || teacher), nats; the bucket of topk is spread evenly.
    ``captured_mass``: mean teacher's probability of the kept ids. ``entropy``: of the teacher,
    counts of positions from each lower end. ``gradient_cosine``: between the gradients of the mean
    forward KL, from the cache and from the teacher, at the untrained student: of its head over all
    positions, and of its hidden states, mean over positions.
    """
    identity = cache.identity
    picked = _picked(store, rows)
    captured = CapturedTeacher(cache, store)
    parts = [_seen(teacher, student, store, captured, [row]) for row in picked]
    sample = _Sample(
        exact=torch.cat([part.exact for part in parts]),
        states=torch.cat([part.states for part in parts]),
        kept={name: torch.cat([part.kept[name] for part in parts]) for name in parts[0].kept},
    )
    targets = targets_of(sample.kept, identity.temperature)
    return {
        "schema": SCHEMA,
        "scheme": identity.scheme,
        "positions": len(sample.exact),
        "bytes_per_position": cache.size / max(1, cache.positions),
        **_losses(sample, teacher.head, targets, identity.temperature),
        "gradient_cosine": _cosines(sample, teacher.head, student, targets, identity.temperature),
    }


def _picked(store: Sequences, rows: Sequence[int]) -> list[int]:
    """Return rows spread evenly, together about `POSITIONS` targets."""
    mean = max(1.0, float(store.targets[list(rows)].mean()))
    count = min(len(rows), max(1, round(POSITIONS / mean)))
    return [rows[index] for index in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _seen(
    teacher: Teacher,
    student: Student,
    store: Sequences,
    captured: CapturedTeacher,
    members: list[int],
) -> _Sample:
    batch = padded_batch(store, members)
    module = student.module.train(False)
    with torch.no_grad():
        states = scored_states(module, batch)
    return _Sample(
        exact=teacher_states(teacher, batch), states=states, kept=captured.batch(members)
    )


def _losses(
    sample: _Sample, head: Head, targets: SparseTargets | None, temperature: float
) -> dict[str, Any]:
    divergence, mass, entropies = [], [], []
    for start in range(0, len(sample.exact), _CHUNK):
        part = slice(start, start + _CHUNK)
        exact = _log_probabilities(head, sample.exact[part], temperature)
        if targets is None:
            divergence.append(_dense_divergence(sample, head, part))
            mass.append(torch.ones(len(exact)))
        else:
            ids = targets.ids[part]
            mass.append(exact.gather(1, ids).exp().sum(1))
            divergence.append(_sparse_divergence(exact, targets, part))
        entropies.append(-torch.where(exact.isneginf(), 0.0, exact.exp() * exact).sum(1))
    entropy = torch.cat(entropies).numpy()
    counts, _ = np.histogram(entropy, [*_BINS, np.inf])
    return {
        "reconstruction_kl": float(torch.cat(divergence).mean()),
        "captured_mass": float(torch.cat(mass).double().mean()),
        "entropy": {
            "mean": float(entropy.mean()),
            "from": list(_BINS),
            "positions": counts.tolist(),
        },
    }


def _dense_divergence(sample: _Sample, head: Head, part: slice) -> Tensor:
    """Return (R,) KL(kept || exact) of hidden states under one head."""
    weight = head.weight.float()
    found = linear_agreement(
        sample.kept[STATES][part].to(weight.device),
        weight,
        sample.exact[part].float(),
        weight,
        bias=(head.bias, head.bias),
        softcap=(head.softcap, head.softcap),
        scale=(head.scale, head.scale),
        topk=(1,),
    )
    return found.kl_ab.double().cpu()


def _sparse_divergence(exact: Tensor, targets: SparseTargets, part: slice) -> Tensor:
    """Return (R,) KL(kept || exact)."""
    ids = targets.ids[part]
    if isinstance(targets, TopKTargets):
        tail = targets.tail_mass[part].double()
        others = exact.shape[1] - ids.shape[1]
        even = (tail / others).clamp_min(1e-300).log() if others else torch.zeros_like(tail)
        kept = even[:, None].expand(-1, exact.shape[1]).clone()
        kept.scatter_(1, ids, targets.logprobs[part].double())
        return torch.where(kept > -600, kept.exp() * (kept - exact), 0.0).sum(1)
    # The same id may be drawn twice: its weights add up.
    weights = torch.zeros_like(exact).scatter_add_(1, ids, targets.weights[part].double())
    return torch.where(weights > 0, weights * (weights.clamp_min(1e-300).log() - exact), 0.0).sum(1)


def _log_probabilities(head: Head, states: Tensor, temperature: float) -> Tensor:
    logits = logits_of(head, states.to(head.weight.dtype).to(head.weight.device))
    return torch.log_softmax(logits.double().cpu() / temperature, 1)


def _cosines(
    sample: _Sample,
    head: Head,
    student: Student,
    targets: SparseTargets | None,
    temperature: float,
) -> dict[str, float]:
    """Return cosines of the gradients that the cache and the teacher give."""
    gradients = []
    form = head_of(student.module, head.vocabulary)
    for kept in (True, False):
        states = sample.states.clone().requires_grad_()
        weight = live_head(student.module, head.vocabulary)[0].detach().clone().requires_grad_()
        source: dict[str, Any] = {"targets": targets}
        if not kept or targets is None:
            hidden = sample.kept[STATES] if kept else sample.exact
            source = {"h_t": hidden.to(weight.device), "w_t": head.weight.to(weight.device)}
        total = distillation_loss(
            states,
            weight,
            divergence="forward-kl",
            temperature=temperature,
            bias=(form.bias, None if "targets" in source else head.bias),
            softcap=(form.softcap, None if "targets" in source else head.softcap),
            scale=(form.scale, 1.0 if "targets" in source else head.scale),
            **source,
        ).total
        gradients.append(torch.autograd.grad(total, (states, weight)))
    (of_states, of_head), (true_states, true_head) = gradients
    cosine = torch.nn.functional.cosine_similarity
    return {
        "head": float(cosine(_flat(of_head), _flat(true_head), dim=0)),
        "states": float(cosine(of_states, true_states, dim=1).mean()),
    }


def _flat(gradient: Tensor) -> Tensor:
    return gradient.double().flatten()
