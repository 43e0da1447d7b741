"""Plain torch: the formulas as they are usually written, on whole tables."""

import torch
from torch import Tensor
from torch.nn import functional

from auditor.bench.experiment import Outputs

EAGER = "torch eager"
COMPILED = "torch.compile"


def agreement_outputs(a: Tensor, b: Tensor, tokens: Tensor, topk: tuple[int, ...]) -> Outputs:
    """Return every output of our full report for (T, V) logits, each by its usual formula."""
    log_p, log_q = functional.log_softmax(a, 1), functional.log_softmax(b, 1)
    p, q = log_p.exp(), log_q.exp()
    log_m = ((p + q) / 2).log()
    halves = [
        functional.kl_div(log_m, log, reduction="none", log_target=True) for log in (log_p, log_q)
    ]
    coefficient = (p * q).sqrt().sum(1)
    return {
        "lse_a": torch.logsumexp(a, 1),
        "lse_b": torch.logsumexp(b, 1),
        "entropy_a": -(p * log_p).sum(1),
        "entropy_b": -(q * log_q).sum(1),
        "kl_ab": functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1),
        "kl_ba": functional.kl_div(log_p, log_q, reduction="none", log_target=True).sum(1),
        "js": (halves[0] + halves[1]).sum(1) / 2,
        "tv": (p - q).abs().sum(1) / 2,
        "log_bc": coefficient.log(),
        "hellinger2": 1 - coefficient,
        "cosine": functional.cosine_similarity(a, b, dim=1),
        "pearson": functional.cosine_similarity(
            a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1
        ),
        **_orders(a, b, topk),
        **_token_outputs("a", a, log_p, tokens),
        **_token_outputs("b", b, log_q, tokens),
    }


def _orders(a: Tensor, b: Tensor, topk: tuple[int, ...]) -> Outputs:
    most = min(max(topk), a.shape[1])
    first_a, first_b = a.topk(most, 1).indices, b.topk(most, 1).indices
    shared = [
        (first_a[:, :k, None] == first_b[:, None, :k]).any(2).sum(1).double() / min(k, most)
        for k in topk
    ]
    choice = a.argmax(1)
    return {
        "argmax_a": choice,
        "argmax_b": b.argmax(1),
        "rank_argmax_a_in_b": 1 + (b > b.gather(1, choice[:, None])).sum(1),
        "topk_overlap": torch.stack(shared, 1),
    }


def _token_outputs(side: str, table: Tensor, log: Tensor, tokens: Tensor) -> Outputs:
    at = tokens[:, None]
    level = table.gather(1, at)
    return {
        f"logp_{side}": log.gather(1, at)[:, 0],
        f"rank_{side}": 1 + (table > level).sum(1),
        f"ties_{side}": (table == level).sum(1) - 1,
    }


def kl_outputs(a: Tensor, b: Tensor) -> Outputs:
    """Return KL(p || q) by `F.kl_div`."""
    log_p, log_q = functional.log_softmax(a, 1), functional.log_softmax(b, 1)
    return {"kl_ab": functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)}


def jsd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the sum over positions of JSD with beta 1/2, for autograd."""
    log_s, log_t = functional.log_softmax(student, 1), functional.log_softmax(teacher, 1)
    log_m = ((log_s.exp() + log_t.exp()) / 2).log()
    both = functional.kl_div(log_m, log_s, reduction="sum", log_target=True)
    both = both + functional.kl_div(log_m, log_t, reduction="sum", log_target=True)
    return both / 2


def topk_tail_loss(student: Tensor, ids: Tensor, logprobs: Tensor, tail: Tensor) -> Tensor:
    """Return the sum over positions of KL(teacher's top-k and the rest || student's)."""
    log_s = functional.log_softmax(student, 1)
    log_kept = log_s.gather(1, ids)  # (T, k)
    log_rest = (1 - log_kept.exp().sum(1)).log()
    kept = (logprobs.exp() * (logprobs - log_kept)).sum(1)
    return (kept + torch.xlogy(tail, tail) - tail * log_rest).sum()


def permutation_loop(x: Tensor, y: Tensor, permutations: int, bandwidth: float | None) -> Outputs:
    """Return unbiased MMD^2 and its p-value, one permutation of the kernel's rows at a time."""
    pooled, m = torch.cat([x, y]), x.shape[0]
    distance = torch.cdist(pooled, pooled)
    if bandwidth is None:
        upper = torch.triu_indices(len(pooled), len(pooled), 1, device=x.device)
        bandwidth = float(distance[upper[0], upper[1]].median())
    kernel = torch.exp(-distance.square() / (2 * bandwidth**2)).fill_diagonal_(0.0)
    observed = _mmd2(kernel, m)
    extreme = sum(
        int(_mmd2(kernel[order][:, order], m) >= observed)
        for order in (torch.randperm(len(pooled), device=x.device) for _ in range(permutations))
    )
    return {"mmd2": observed, "p_value": torch.tensor((1 + extreme) / (1 + permutations))}


def _mmd2(kernel: Tensor, m: int) -> Tensor:
    n = kernel.shape[0] - m
    within_x, within_y = kernel[:m, :m].sum(), kernel[m:, m:].sum()
    across = kernel[:m, m:].sum()
    return within_x / (m * (m - 1)) + within_y / (n * (n - 1)) - 2 * across / (m * n)


def gram_cka(x: Tensor, y: Tensor, *, products: bool) -> Outputs:
    """Return debiased linear CKA from (n, n) Gram matrices.

    With `products`, tr(K L) is the trace of a product of (n, n) matrices as in the published
    formula (Song et al. 2012, eq. 5); else the sum of K * L, which is the same number.
    """
    gram_x, gram_y = (table @ table.T for table in (x, y))
    gram_x.fill_diagonal_(0.0)
    gram_y.fill_diagonal_(0.0)
    own = _hsic(gram_x, gram_x, products) * _hsic(gram_y, gram_y, products)
    return {"cka": _hsic(gram_x, gram_y, products) / own.sqrt()}


def _hsic(a: Tensor, b: Tensor, products: bool) -> Tensor:
    n = a.shape[0]
    trace = torch.trace(a @ b) if products else (a * b).sum()
    sums_a, sums_b = a.sum(0), b.sum(0)
    middle = sums_a.sum() * sums_b.sum() / ((n - 1) * (n - 2))
    return (trace + middle - 2 * (sums_a @ sums_b) / (n - 2)) / (n * (n - 3))


def argsort_knn(x: Tensor, y: Tensor, k: int) -> Outputs:
    """Return the share of mutual neighbours from full sorts of (n, n) tables and two masks."""
    masks = []
    for rows in (x, y):
        unit = functional.normalize(rows, dim=1)
        similarity = (unit @ unit.T).fill_diagonal_(float("-inf"))
        order = similarity.argsort(dim=1, descending=True)[:, :k]
        masks.append(torch.zeros_like(similarity).scatter_(1, order, 1.0))
    return {"share": (masks[0] * masks[1]).sum(1) / k}
