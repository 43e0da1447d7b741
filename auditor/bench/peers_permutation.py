"""hyppo: a two-sample MMD test, one permutation at a time."""

import torch
from torch import Tensor

from auditor.bench.experiment import Candidate, Outputs, Package, Run
from auditor.errors import KernelUnavailableError


def mmd_test(x: Tensor, y: Tensor, permutations: int, bandwidth: float) -> Candidate:
    """Return `hyppo.ksample.MMD` with a Gaussian kernel."""

    def prepare() -> Run:
        if x.device.type != "cpu":
            raise KernelUnavailableError("hyppo computes on the CPU only")
        from hyppo.ksample import MMD

        first, second = x.double().numpy(), y.double().numpy()
        gamma = 1.0 / (2.0 * bandwidth**2)

        def run() -> Outputs:
            test = MMD(compute_kernel="gaussian", gamma=gamma)
            found = test.test(first, second, reps=permutations, auto=False, random_state=0)
            return {"p_value": torch.tensor(float(found[1]))}

        return run

    return Candidate(
        name="hyppo MMD",
        computes="p, and MMD in another scale",
        prepare=prepare,
        package=Package(module="hyppo", distribution="hyppo"),
    )
