"""torchmetrics: KL from probabilities, so a softmax comes before it."""

from torch import Tensor

from auditor.bench.experiment import Candidate, Outputs, Package, Run


def divergence(a: Tensor, b: Tensor, computes: str) -> Candidate:
    """Return `kl_divergence` of the softmaxes of (T, V) logits."""

    def prepare() -> Run:
        from torchmetrics.functional import kl_divergence

        def run() -> Outputs:
            kl = kl_divergence(a.softmax(1), b.softmax(1), log_prob=False, reduction="none")
            return {"kl_ab": kl}

        return run

    return Candidate(
        name="torchmetrics kl_divergence",
        computes=computes,
        prepare=prepare,
        package=Package(module="torchmetrics", distribution="torchmetrics"),
    )
