"""Permutation tests between two clouds of points."""

import torch
from torch import Tensor

from auditor.bench import peers_permutation, peers_torch, peers_transport
from auditor.bench.bars import faster
from auditor.bench.case_agreement import ours
from auditor.bench.experiment import OURS, TORCH, Candidate, Experiment, Outputs, Settings
from auditor.kernels import energy_permutation, mmd_permutation

LOOP = "torch loop"
_BANDWIDTH = 8.0


def _clouds(settings: Settings) -> tuple[Tensor, Tensor, int]:
    """Return two clouds (m, 32), slightly apart, and the number of permutations."""
    points, permutations = (32, 19) if settings.small else (1024, 1000)
    stream = torch.Generator().manual_seed(7)
    x, y = (torch.randn(points // 2, 32, generator=stream) for _ in range(2))
    return x.to(settings.device), (y + 0.05).to(settings.device), permutations


def mmd(settings: Settings) -> Experiment:
    """MMD with a Gaussian kernel."""
    x, y, permutations = _clouds(settings)

    def run_ours() -> Outputs:
        found = mmd_permutation(x, y, seed=0, permutations=permutations, bandwidth=_BANDWIDTH)
        return {"mmd2": torch.tensor(found.statistic), "p_value": torch.tensor(found.p_value)}

    def truth() -> Outputs:
        found = peers_torch.permutation_loop(x.double(), y.double(), 0, _BANDWIDTH)
        return {"mmd2": found["mmd2"]}

    loop = Candidate(
        name=LOOP,
        computes="all",
        prepare=lambda: lambda: peers_torch.permutation_loop(x, y, permutations, _BANDWIDTH),
        package=TORCH,
    )
    return Experiment(
        title="unbiased MMD^2 and its permutation p-value, float32 points",
        shape={"N": 2 * len(x), "D": int(x.shape[1]), "permutations": permutations},
        candidates=(
            ours("permutation", run_ours, "all"),
            loop,
            peers_permutation.mmd_test(x, y, permutations, _BANDWIDTH),
        ),
        truth=truth,
        bars=(faster(f"{OURS} permutation", LOOP, 80.0),),
    )


def energy(settings: Settings) -> Experiment:
    """Energy distance; the peers give a statistic and no test."""
    x, y, permutations = _clouds(settings)

    def run_ours() -> Outputs:
        found = energy_permutation(x, y, seed=0, permutations=permutations)
        return {"energy": torch.tensor(found.statistic), "p_value": torch.tensor(found.p_value)}

    def truth() -> Outputs:
        m, n = len(x), len(y)
        a, b = x.double(), y.double()
        within_x, within_y = torch.cdist(a, a).sum(), torch.cdist(b, b).sum()
        across = 2 * torch.cdist(a, b).mean()
        return {
            "energy": across - within_x / (m * (m - 1)) - within_y / (n * (n - 1)),
            "energy_biased": across - within_x / m**2 - within_y / n**2,
        }

    return Experiment(
        title="energy distance; ours with its permutation p-value, float32 points",
        shape={"N": 2 * len(x), "D": int(x.shape[1]), "permutations": permutations},
        candidates=(
            ours("permutation", run_ours, "unbiased energy distance and p"),
            peers_transport.energy_distance(x, y),
            peers_transport.wasserstein(x, y),
        ),
        truth=truth,
    )


EXPERIMENTS = {"mmd": mmd, "energy": energy}
