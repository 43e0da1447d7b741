"""What the device can do at most: bytes copied and float32 products a second."""

from dataclasses import dataclass

from auditor.bench.experiment import Settings
from auditor.bench.timing import summary, timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Medians over the runs."""

    copy_bytes_per_s: float
    """Read and written bytes of a copy too large for a cache."""
    gemm_flop_per_s: float
    """Of a square float32 matrix product by torch."""
    product_flop_per_s: float
    """Of the same by `auditor.kernels.products`."""


def measured_ceilings(settings: Settings) -> Ceilings:
    """Measure on the device with the threads that are set."""
    import torch

    from auditor.kernels.products import Products

    gpu = torch.device(settings.device).type == "cuda"
    words = 1 << 16 if settings.small else 1 << (30 if gpu else 26)
    size = 64 if settings.small else (8192 if gpu else 2048)
    source = torch.ones(words, device=settings.device)
    target = torch.zeros(words, device=settings.device)
    a = torch.rand(size, size, device=settings.device)
    product = torch.empty_like(a)

    def copy() -> dict[str, torch.Tensor]:
        target.copy_(source)
        return {}

    def multiply() -> dict[str, torch.Tensor]:
        torch.mm(a, a, out=product)
        return {}

    def multiply_ours() -> dict[str, torch.Tensor]:
        Products(a).into(product, a)
        return {}

    seconds = {}
    for name, run in (("copy", copy), ("gemm", multiply), ("product", multiply_ours)):
        run()
        seconds[name] = summary([timed(run, settings.device) for _ in range(settings.runs)]).median
    return Ceilings(
        copy_bytes_per_s=2 * 4 * words / seconds["copy"],
        gemm_flop_per_s=2 * size**3 / seconds["gemm"],
        product_flop_per_s=2 * size**3 / seconds["product"],
    )
