"""Losses against sparse targets on a block of rows, with their closed-form gradients.

With s the student's softmax at the targets' temperature, t the kept probabilities, S the kept ids:

- top-k with a tail bucket of mass tau against sigma = sum of s outside S:
  D = sum_S t (log t - log s) + tau (log tau - log sigma); gradient s_v - t_v inside S and
  s_v (1 - tau / sigma) outside.
- PPS weights r: D = - sum r log s - H(t), unbiased for KL(t || s); gradient s - r (rows of r sum
  to 1). A single draw may be below 0.

sigma is summed over the tokens outside S, so a small one keeps its digits.
"""

import torch
from torch import Tensor

from auditor.kernels.loss_terms import Terms
from auditor.kernels.sparse import PpsTargets, SparseTargets, TopKTargets


def sparse_divergence(tempered: Tensor, targets: SparseTargets, rows: Tensor) -> Terms:
    """Return the forward KL of rows (R, V) of tempered, finite student logits, and its gradient.

    Args:
        tempered: (R, V), kept.
        targets: of all positions.
        rows: (R,) where these logits are.
    """
    p = torch.softmax(tempered, 1)  # (R, V)
    norm = torch.logsumexp(tempered, 1, keepdim=True)
    ids = targets.ids[rows]
    log_s = tempered.gather(1, ids) - norm  # (R, K)
    if isinstance(targets, PpsTargets):
        return _sampled(p, ids, log_s, targets, rows)
    return _with_tail(p, ids, log_s, targets, rows)


def _sampled(p: Tensor, ids: Tensor, log_s: Tensor, targets: PpsTargets, rows: Tensor) -> Terms:
    r = targets.weights[rows].to(p.dtype)
    value = -(r * log_s).sum(1) - targets.entropy[rows].to(p.dtype)
    return Terms(value, p.scatter_add_(1, ids, -r))


def _with_tail(p: Tensor, ids: Tensor, log_s: Tensor, targets: TopKTargets, rows: Tensor) -> Terms:
    log_t = targets.logprobs[rows].to(p.dtype)
    t, tau = log_t.exp(), targets.tail_mass[rows].to(p.dtype)
    inside = p.gather(1, ids)
    outside = p.scatter_(1, ids, 0.0)
    sigma = outside.sum(1).clamp_(min=torch.finfo(p.dtype).tiny)
    kept = torch.where(t > 0, t * (log_t - log_s), 0.0).sum(1)
    tail = torch.where(tau > 0, tau * (tau.log() - sigma.log()), 0.0)
    gradient = outside.mul_((1.0 - tau / sigma)[:, None]).scatter_(1, ids, inside - t)
    return Terms(kept + tail, gradient)
