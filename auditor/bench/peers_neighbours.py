"""faiss: exact nearest neighbours by inner product."""

import torch
from torch import Tensor
from torch.nn import functional

from auditor.bench.experiment import Candidate, Outputs, Package, Run
from auditor.errors import KernelUnavailableError


def mutual_neighbours(x: Tensor, y: Tensor, k: int, threads: int) -> Candidate:
    """Return `faiss.knn` in both spaces, with normalisation before and comparison after."""

    def prepare() -> Run:
        if x.device.type != "cpu":
            raise KernelUnavailableError("faiss-cpu computes on the CPU only")
        import faiss

        faiss.omp_set_num_threads(threads)

        def neighbours(rows: Tensor) -> Tensor:
            unit = functional.normalize(rows, dim=1).numpy()
            ids = torch.from_numpy(faiss.knn(unit, unit, k + 1, faiss.METRIC_INNER_PRODUCT)[1])
            own = torch.arange(len(ids))[:, None]
            # the item itself is among its k + 1 nearest; the others move up
            return ids[ids != own].reshape(len(ids), k)

        def run() -> Outputs:
            a, b = neighbours(x), neighbours(y)
            return {"share": (a[:, :, None] == b[:, None, :]).any(2).double().mean(1)}

        return run

    return Candidate(
        name="faiss knn",
        computes="all",
        prepare=prepare,
        package=Package(module="faiss", distribution="faiss-cpu"),
    )
