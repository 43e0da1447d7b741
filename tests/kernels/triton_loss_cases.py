"""Rows of logits on which the Triton losses are computed, by an interpreter or by a GPU."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.kernels import divergence_loss, loss_terms
from auditor.kernels.divergences import Mixture

KINDS = ["forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd"]
INF = float("inf")
ROWS = 2
OPEN = 40
"""Possible tokens where most are not: of 2100, none among the first that a program reads."""
BETA = 0.3
FACTOR = 2.0


@dataclass(frozen=True)
class Case:
    """One call of the kernel."""

    kind: str
    flavour: str = "plain"
    size: int = 2100
    tau: float = 1.7
    dtype: torch.dtype = torch.float32
    softcap: float | None = None
    with_gradient: bool = True

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return student and teacher logits (ROWS, size)."""
        draw = torch.Generator().manual_seed(self.size)
        student, teacher = (3 * torch.randn(ROWS, self.size, generator=draw) for _ in range(2))
        if self.flavour == "offset":
            student, teacher = student - 40, teacher + 40
        elif self.flavour == "near":
            student = teacher + 0.1 * student
        elif self.flavour == "peaked":
            student, teacher = 10 * student, 10 * teacher
            student[:, -1] = teacher[:, -1] = 60.0
        elif self.flavour == "huge":
            student, teacher = 3000 * student, 3000 * teacher
        elif self.flavour == "equal":
            student = teacher.clone()
        elif self.flavour.startswith("impossible"):
            close(student, teacher, self.flavour)
        if self.softcap is not None:
            student = self.softcap * torch.tanh(student / self.softcap)
        return student.to(self.dtype), teacher.to(self.dtype)

    def rates(self) -> Tensor:
        """Return (ROWS,) uneven weights times factor / tau."""
        return torch.tensor([3.0, 0.25]) * (FACTOR / self.tau)

    def labels(self) -> Tensor:
        """Return (ROWS,) ids, one of them the last."""
        return torch.tensor([self.size // 2, self.size - 1])

    def by_triton(self, device: str = "cpu") -> dict[str, Tensor]:
        """Return the loss and what became of the student's logits, from rows of a wider table."""
        from auditor.kernels.triton.losses import RowLoss  # triton is optional

        student, teacher = self.tables()
        wide = torch.full((ROWS, self.size + 3), float("nan"), dtype=self.dtype, device=device)
        rows = wide[:, : self.size].copy_(student)
        loss = RowLoss(
            mixture=Mixture(self.kind, BETA, FACTOR),
            tau=self.tau,
            softcap=self.softcap,
            with_gradient=self.with_gradient,
        )
        rates = self.rates().to(device)
        if self.kind == "cross-entropy":
            value = loss.cross_entropy(rows, self.labels().to(device), rates)
        else:
            value = loss.divergence(rows, teacher.to(device), rates)
        return {"loss": value.cpu(), "gradient": rows.cpu(), "beyond": wide[:, self.size :].cpu()}

    def exactly(self) -> dict[str, Tensor]:
        """Return the same from autograd in float64."""
        student, teacher = (t.double() for t in self.tables())
        leaf = student if self.softcap is None else torch.atanh(student / self.softcap)
        leaf.requires_grad_()
        logits = leaf if self.softcap is None else self.softcap * torch.tanh(leaf)
        if self.kind == "cross-entropy":
            log_s = torch.log_softmax(logits / self.tau, 1)
            value = -log_s.gather(1, self.labels()[:, None])[:, 0]
            weighted = value * FACTOR
        else:
            options = {"divergence": self.kind, "beta": BETA, "temperature": self.tau}
            weighted = value = FACTOR * divergence_loss(logits, teacher, **options)
        total = (weighted * self.rates().double() * self.tau / FACTOR).sum()
        gradient = torch.autograd.grad(total, leaf)[0] / (self.softcap or 1.0)
        return {"loss": value.detach(), "gradient": gradient}

    def by_torch(self) -> dict[str, Tensor]:
        """Return the same from the torch implementation in float32, softcap left out."""
        student, teacher = (t.float() for t in self.tables())
        sides = [loss_terms.tempered_softmax(t, self.tau) for t in (student, teacher)]
        terms = loss_terms.divergence(self.kind, sides[0], sides[1], BETA)
        rates = self.rates()[:, None]
        return {"loss": (terms.value * FACTOR).clamp(min=0), "gradient": terms.gradient * rates}


def close(student: Tensor, teacher: Tensor, flavour: str) -> None:
    """Make tokens impossible: nearly all for both, or a few of its own for each."""
    if flavour == "impossible for both":
        student[:, :-OPEN] = teacher[:, :-OPEN] = -INF
    else:
        student[:, :100] = -INF
        teacher[:, :50] = teacher[:, 120] = -INF


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Check |found - expected| <= tolerance |expected| in the Euclidean norm.

    1e-6 more is allowed: where one token has all the mass, the gradient is 0 but for rounding.
    """
    scale = max(1.0, float(expected.double().abs().max()))  # squares of 1e38 would overflow
    wanted = expected.double() / scale
    error = float((found.double() / scale - wanted).norm())
    assert error <= tolerance * float(wanted.norm()) + 1e-6 / scale
