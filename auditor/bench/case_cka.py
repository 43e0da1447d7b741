"""Debiased linear CKA of two representations of the same items."""

import torch

from auditor.bench import peers_torch
from auditor.bench.bars import faster
from auditor.bench.case_agreement import ours
from auditor.bench.experiment import OURS, TORCH, Candidate, Experiment, Outputs, Run, Settings
from auditor.kernels import cka_stream, pairwise_cka, u_centred_gram

PRODUCTS = "torch Gram form"
_BATCH = 512


def debiased(settings: Settings) -> Experiment:
    """Streamed in batches, against forms that build (N, N) tables."""
    items, width = (64, 8) if settings.small else (4096, 384)
    stream = torch.Generator().manual_seed(8)
    x = torch.randn(items, width, generator=stream).to(settings.device)
    y = torch.randn(items, width, generator=stream).to(settings.device).add_(0.5 * x)

    def streamed() -> Outputs:
        batches = ((x[i : i + _BATCH], y[i : i + _BATCH]) for i in range(0, items, _BATCH))
        return {"cka": torch.tensor(cka_stream(batches), dtype=torch.float64)}

    def table() -> Outputs:
        return {"cka": pairwise_cka([u_centred_gram(x)], [u_centred_gram(y)])[0, 0]}

    def peer(name: str, run: Run, computes: str) -> Candidate:
        return Candidate(
            name=name,
            computes=computes,
            prepare=lambda: run,
            package=TORCH,
        )

    return Experiment(
        title="debiased linear CKA, float32 representations",
        shape={"N": items, "D": width},
        candidates=(
            ours("stream", streamed, "all, float32 products, float64 sums"),
            ours("table", table, "all, float64 inside"),
            peer(
                PRODUCTS,
                lambda: peers_torch.gram_cka(x, y, products=True),
                "all, float32, products of (N, N)",
            ),
            peer(
                "torch Gram sums",
                lambda: peers_torch.gram_cka(x, y, products=False),
                "all, float32, sums over (N, N)",
            ),
        ),
        truth=lambda: peers_torch.gram_cka(x.double(), y.double(), products=False),
        bars=(faster(f"{OURS} stream", PRODUCTS, 80.0),),
    )


EXPERIMENTS = {"debiased": debiased}
