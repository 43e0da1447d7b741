"""trl: the chunked divergence, its loss on whole logits, and its logit statistics."""

import torch
from torch import Tensor

from auditor.bench.experiment import Candidate, Outputs, Package, Run

CHUNKED = "trl chunked_divergence"
_PACKAGE = Package(module="trl", distribution="trl")


def chunked_jsd(states: tuple[Tensor, Tensor], heads: tuple[Tensor, Tensor]) -> Candidate:
    """Return `ChunkedDivergenceFunction` with beta 1/2; arguments as for liger."""

    def prepare() -> Run:
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        def run() -> Outputs:
            per_token, _ = ChunkedDivergenceFunction.apply(
                states[0], heads[0], None, states[1], heads[1], None, 0.5, 1.0
            )
            total = per_token.sum()
            grad_h, grad_w = torch.autograd.grad(total, (states[0], heads[0]))
            return {"loss": total.detach(), "grad_h": grad_h, "grad_w": grad_w}

        return run

    return Candidate(
        name=CHUNKED, computes="loss, both gradients, entropy", prepare=prepare, package=_PACKAGE
    )


def chunked_kl(states: tuple[Tensor, Tensor], heads: tuple[Tensor, Tensor]) -> Candidate:
    """Return the forward KL of `ChunkedDivergenceFunction`, b being the student."""

    def prepare() -> Run:
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        def run() -> Outputs:
            with torch.no_grad():
                kl, entropy = ChunkedDivergenceFunction.apply(
                    states[1], heads[1], None, states[0], heads[0], None, 0.0, 1.0
                )
            return {"kl_ab": kl, "entropy_b": entropy}

        return run

    return Candidate(
        name=CHUNKED, computes="1 KL, 1 entropy of 22", prepare=prepare, package=_PACKAGE
    )


def logit_kl(a: Tensor, b: Tensor) -> Candidate:
    """Return the forward KL of `GKDTrainer.generalized_jsd_loss` on whole logits."""

    def prepare() -> Run:
        from trl.experimental.gkd import GKDTrainer

        def run() -> Outputs:
            terms = GKDTrainer.generalized_jsd_loss(b, a, beta=0.0, reduction="none")
            return {"kl_ab": terms.sum(1)}

        return run

    return Candidate(
        name="trl generalized_jsd_loss", computes="KL", prepare=prepare, package=_PACKAGE
    )


def statistics(a: Tensor, b: Tensor, tokens: Tensor) -> Candidate:
    """Return entropies and log-probabilities by trl's chunked functions."""

    def prepare() -> Run:
        from trl.trainer.utils import entropy_from_logits, selective_log_softmax

        def run() -> Outputs:
            return {
                "entropy_a": entropy_from_logits(a),
                "entropy_b": entropy_from_logits(b),
                "logp_a": selective_log_softmax(a, tokens),
                "logp_b": selective_log_softmax(b, tokens),
            }

        return run

    return Candidate(
        name="trl statistics",
        computes="2 entropies, 2 log p of 22",
        prepare=prepare,
        package=_PACKAGE,
    )
