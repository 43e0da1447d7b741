"""geomloss and POT: distances between clouds of points, without permutations."""

from torch import Tensor

from auditor.bench.experiment import Candidate, Outputs, Package, Run


def energy_distance(x: Tensor, y: Tensor) -> Candidate:
    """Return `geomloss.SamplesLoss("energy")`: half the energy distance, diagonals included."""

    def prepare() -> Run:
        from geomloss import SamplesLoss

        loss = SamplesLoss("energy", backend="tensorized")
        return lambda: {"energy_biased": 2 * loss(x, y)}

    return Candidate(
        name="geomloss energy",
        computes="biased energy distance, no p",
        prepare=prepare,
        package=Package(module="geomloss", distribution="geomloss"),
    )


def wasserstein(x: Tensor, y: Tensor) -> Candidate:
    """Return `ot.emd2` of the Euclidean distances: the exact Wasserstein-1 distance."""

    def prepare() -> Run:
        import ot

        def run() -> Outputs:
            uniform = (ot.unif(len(x), type_as=x), ot.unif(len(y), type_as=y))
            return {"wasserstein1": ot.emd2(*uniform, ot.dist(x, y, metric="euclidean"))}

        return run

    return Candidate(
        name="POT emd2",
        computes="Wasserstein-1 instead, no p",
        prepare=prepare,
        package=Package(module="ot", distribution="POT"),
    )
