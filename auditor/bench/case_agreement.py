"""Agreement of two tables of logits: the full report, its digits near 0, and exactness."""

from dataclasses import fields
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from auditor.bench import peers_liger, peers_torch, peers_torchmetrics, peers_trl
from auditor.bench.bars import accurate, faster, never_negative, within
from auditor.bench.experiment import OURS, TORCH, Candidate, Experiment, Outputs, Run, Settings
from auditor.bench.implementations import COMPILING, agreement_implementations
from auditor.kernels import Agreement, agreement

TOPK = (1, 5, 10, 50)
ALL = "22 outputs"
_DISTANCES = ("kl_ab", "kl_ba", "js", "tv", "hellinger2")


def outputs_of(found: Agreement, names: tuple[str, ...] | None = None) -> Outputs:
    """Return an agreement's tensors by name."""
    wanted = names or tuple(f.name for f in fields(Agreement) if f.name != "implementation")
    values = {name: getattr(found, name) for name in wanted}
    return {name: value for name, value in values.items() if value is not None}


def ours(name: str, run: Run, computes: str = ALL, kept_bytes: int = 0) -> Candidate:
    """Return one of our implementations; `kept_bytes` stay allocated between its runs."""
    return Candidate(
        name=f"{OURS} {name}",
        computes=computes,
        prepare=lambda: run,
        compiles=name in COMPILING,
        kept_bytes=kept_bytes,
    )


def torch_pair(formula: Run, computes: str = ALL) -> list[Candidate]:
    """Return a formula in plain torch, and compiled."""
    return [
        Candidate(
            name=peers_torch.EAGER, computes=computes, prepare=lambda: formula, package=TORCH
        ),
        Candidate(
            name=peers_torch.COMPILED,
            prepare=lambda: torch.compile(formula, dynamic=False),
            compiles=True,
            computes=computes,
            package=TORCH,
        ),
    ]


def picked_rows(positions: int, count: int) -> Tensor:
    """Return positions spread evenly, for which the truth is computed."""
    return torch.linspace(0, positions - 1, min(count, positions)).long()


def full(settings: Settings) -> Experiment:
    """Every output of the report."""
    positions, vocabulary = (16, 257) if settings.small else (2048, 32_000)
    stream = torch.Generator().manual_seed(1)
    a = torch.randn(positions, vocabulary, generator=stream).mul_(3.0)
    b = torch.randn(positions, vocabulary, generator=stream).add_(a)
    tokens = torch.randint(vocabulary, (positions,), generator=stream)
    rows = picked_rows(positions, 64)
    a, b, tokens = (table.to(settings.device) for table in (a, b, tokens))

    def run_ours(name: str) -> Run:
        return lambda: outputs_of(agreement(a, b, tokens, topk=TOPK, implementation=name))

    def truth() -> Outputs:
        at = rows.to(a.device)
        return peers_torch.agreement_outputs(a[at].double(), b[at].double(), tokens[at], TOPK)

    return Experiment(
        title="full agreement report, float32 logits",
        shape={"T": positions, "V": vocabulary},
        candidates=(
            *(ours(name, run_ours(name)) for name in agreement_implementations()),
            *torch_pair(lambda: peers_torch.agreement_outputs(a, b, tokens, TOPK)),
            peers_trl.statistics(a, b, tokens),
            peers_torchmetrics.divergence(a, b, "1 KL of 22"),
            peers_liger.divergences(a, b),
        ),
        truth=truth,
        rows=rows,
        bars=(
            faster(f"{OURS} chunked", peers_torch.EAGER, 10.0),
            faster(f"{OURS} turbo", peers_torch.EAGER, 18.0),
            within(f"{OURS} chunked", 40.0),
        ),
    )


def near_identical(settings: Settings, kl: float, limit: float) -> Experiment:
    """KL of models that hardly differ: noise of variance 2 KL on the logits."""
    positions, vocabulary = (8, 1025) if settings.small else (64, 32_000)
    stream = torch.Generator().manual_seed(2)
    a = torch.randn(positions, vocabulary, generator=stream).mul_(2.0)
    noise = torch.randn(positions, vocabulary, generator=stream).mul_((2.0 * kl) ** 0.5)
    a, b = a.to(settings.device), (a + noise).to(settings.device)

    def run_ours(name: str) -> Run:
        return lambda: outputs_of(agreement(a, b, implementation=name), ("kl_ab",))

    names = agreement_implementations()
    checked = [f"{OURS} {name}" for name in names]
    return Experiment(
        title=f"relative error of KL where KL is about {kl:g} nats, float32 logits",
        shape={"T": positions, "V": vocabulary},
        candidates=(
            *(ours(name, run_ours(name), "KL") for name in names),
            *torch_pair(lambda: peers_torch.kl_outputs(a, b), "KL"),
            peers_trl.logit_kl(a, b),
            peers_torchmetrics.divergence(a, b, "KL"),
            peers_liger.divergences(a, b),
        ),
        truth=lambda: peers_torch.kl_outputs(a.double(), b.double()),
        elementwise=True,
        timed=False,
        bars=(
            *(accurate(name, "kl_ab", limit, "relative error of KL") for name in checked),
            *(never_negative(name) for name in checked),
        ),
    )


def merging(settings: Settings) -> Experiment:
    """States of parts of the vocabulary, merged, against the state of the whole."""
    from auditor.kernels.state import vocabulary_state

    positions, vocabulary = (8, 257) if settings.small else (64, 32_000)
    stream = torch.Generator().manual_seed(3)
    a = torch.randn(positions, vocabulary, generator=stream).mul_(3.0).to(settings.device)
    b = torch.randn(positions, vocabulary, generator=stream).to(settings.device).add_(a)

    def merged(parts: int) -> Outputs:
        cuts = torch.randperm(vocabulary - 1, generator=torch.Generator().manual_seed(parts)) + 1
        ends = [0, *sorted(cuts[: parts - 1].tolist()), vocabulary]
        states = [
            vocabulary_state(a[:, i:j], b[:, i:j], a[:, 0], b[:, 0], first_id=i)
            for i, j in pairwise(ends)
        ]
        whole = states[0]
        for state in states[1:]:
            whole = whole.merge(state)
        return whole.fields()

    names = {parts: f"merged {parts}" for parts in (2, 7, 64)}
    return Experiment(
        title="states of parts of the vocabulary, cut anywhere and merged, against the whole",
        shape={"T": positions, "V": vocabulary},
        candidates=tuple(
            ours(name, partial(merged, parts), "16 one-pass outputs")
            for parts, name in names.items()
        ),
        truth=lambda: merged(1),
        timed=False,
        bars=tuple(
            accurate(f"{OURS} {name}", "*", 2e-6, "largest relative error of an output")
            for name in names.values()
        ),
    )


def identical(settings: Settings) -> Experiment:
    """A model with itself."""
    positions, vocabulary = (8, 257) if settings.small else (64, 32_000)
    a = torch.randn(positions, vocabulary, generator=torch.Generator().manual_seed(4)).mul_(3.0)
    a = a.to(settings.device)
    b, tokens = a.clone(), torch.zeros(positions, dtype=torch.int64, device=a.device)

    def run_ours(name: str) -> Run:
        return lambda: outputs_of(agreement(a, b, implementation=name), _DISTANCES)

    def run_torch() -> Outputs:
        found = peers_torch.agreement_outputs(a, b, tokens, TOPK)
        return {name: found[name] for name in _DISTANCES}

    names = agreement_implementations()
    return Experiment(
        title="distances of a model to itself: the truth is 0",
        shape={"T": positions, "V": vocabulary},
        candidates=(
            *(ours(name, run_ours(name), "5 distances") for name in names),
            *torch_pair(run_torch, "5 distances"),
        ),
        truth=lambda: {name: torch.zeros(positions, dtype=torch.float64) for name in _DISTANCES},
        timed=False,
        bars=tuple(
            accurate(f"{OURS} {name}", "*", 0.0, "largest distance of a model to itself")
            for name in names
        ),
    )


EXPERIMENTS = {
    "full": full,
    "kl-5e-5": lambda settings: near_identical(settings, 5e-5, 1e-5),
    "kl-5e-7": lambda settings: near_identical(settings, 5e-7, 1e-4),
    "merge": merging,
    "identical": identical,
}
