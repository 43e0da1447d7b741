"""Agreement from hidden states and heads; peers compute both tables of logits first."""

import torch
from torch import Tensor
from torch.nn import functional

from auditor.bench import peers_torch, peers_trl
from auditor.bench.bars import faster, smaller
from auditor.bench.case_agreement import TOPK, ours, outputs_of, picked_rows, torch_pair
from auditor.bench.experiment import OURS, Experiment, Outputs, Run, Settings
from auditor.bench.implementations import agreement_implementations
from auditor.kernels import Workspace, linear_agreement

_CHUNK = 512
"""Positions whose logits exist at once."""


def states_and_heads(
    positions: int, widths: tuple[int, int], vocabulary: int, settings: Settings
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return hidden states (T, D) and heads (V, D) of two unrelated models; logits of spread 3."""
    stream = torch.Generator().manual_seed(5)
    states, heads = [], []
    for width in widths:
        hidden = torch.randn(positions, width, generator=stream)
        head = torch.randn(vocabulary, width, generator=stream).mul_(3.0 / width**0.5)
        states.append(hidden.to(settings.device))
        heads.append(head.to(settings.device))
    return (states[0], states[1]), (heads[0], heads[1])


def full(settings: Settings) -> Experiment:
    """Every output of the report, from hidden states."""
    positions, width, vocabulary = (16, 8, 257) if settings.small else (1024, 576, 49_152)
    states, heads = states_and_heads(positions, (width, width), vocabulary, settings)
    tokens = torch.randint(vocabulary, (positions,), generator=torch.Generator().manual_seed(6))
    rows = picked_rows(positions, 32)
    tokens = tokens.to(settings.device)
    kept = 2 * min(_CHUNK, positions) * vocabulary * 4  # float32 logits of both

    def run_ours(name: str) -> Run:
        tables = Workspace()  # kept between calls, as the collection of an audit does
        a, b = zip(states, heads, strict=True)
        return lambda: outputs_of(
            linear_agreement(
                *a, *b, tokens, topk=TOPK, chunk=_CHUNK, workspace=tables, implementation=name
            )
        )

    def both_logits(picked: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Outputs:
        at = slice(None) if picked is None else picked.to(tokens.device)
        tables = [
            functional.linear(h[at].to(dtype), w.to(dtype))
            for h, w in zip(states, heads, strict=True)
        ]
        return peers_torch.agreement_outputs(tables[0], tables[1], tokens[at], TOPK)

    return Experiment(
        title="full agreement report from hidden states, float32",
        shape={"T": positions, "D": width, "V": vocabulary},
        candidates=(
            *(ours(name, run_ours(name), kept_bytes=kept) for name in agreement_implementations()),
            *torch_pair(both_logits),
            peers_trl.chunked_kl(states, heads),
        ),
        truth=lambda: both_logits(rows, torch.float64),
        rows=rows,
        bars=(
            faster(f"{OURS} chunked", peers_torch.EAGER, 4.0),
            smaller(f"{OURS} chunked", peers_torch.EAGER, 0.10),
        ),
    )


EXPERIMENTS = {"full": full}
