"""Mutual nearest neighbours of two representations of the same items."""

import torch

from auditor.bench import peers_neighbours, peers_torch
from auditor.bench.bars import faster
from auditor.bench.case_agreement import ours
from auditor.bench.experiment import OURS, TORCH, Candidate, Experiment, Outputs, Settings
from auditor.kernels import mutual_knn

ARGSORT = "torch argsort form"


def mutual(settings: Settings) -> Experiment:
    """Share of the k nearest by cosine that both have."""
    items, width, k = (64, 8, 5) if settings.small else (4096, 384, 10)
    stream = torch.Generator().manual_seed(9)
    x = torch.randn(items, width, generator=stream).to(settings.device)
    y = torch.randn(items, width, generator=stream).to(settings.device).mul_(0.5).add_(x)

    def run_ours() -> Outputs:
        return {"share": torch.from_numpy(mutual_knn(x, y, k))}

    argsort = Candidate(
        name=ARGSORT,
        computes="all",
        prepare=lambda: lambda: peers_torch.argsort_knn(x, y, k),
        package=TORCH,
    )
    return Experiment(
        title="mutual nearest neighbours by cosine, float32",
        shape={"N": items, "D": width, "k": k},
        candidates=(
            ours("knn", run_ours, "all"),
            argsort,
            peers_neighbours.mutual_neighbours(x, y, k, settings.threads),
        ),
        truth=lambda: peers_torch.argsort_knn(x.double(), y.double(), k),
        bars=(faster(f"{OURS} knn", ARGSORT, 5.0),),
    )


EXPERIMENTS = {"mutual": mutual}
