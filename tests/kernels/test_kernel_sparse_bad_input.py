"""Sparse targets that do not fit are refused by name."""

import dataclasses

import pytest
import torch

from auditor.errors import InputError, KernelUnavailableError
from auditor.kernels import distillation_loss, pps_targets, topk_targets
from auditor.kernels.sparse import PpsTargets, TopKTargets

T, D, V, K = 3, 4, 9, 2
LOGITS = torch.linspace(-2, 2, T * V).reshape(T, V).sin() * 3
TOP, PPS = topk_targets(LOGITS, K), pps_targets(LOGITS, K)
H, W = torch.ones(T, D), torch.linspace(-1, 1, V * D).reshape(V, D)


def changed(targets: TopKTargets | PpsTargets, **values: torch.Tensor) -> TopKTargets | PpsTargets:
    return dataclasses.replace(targets, **values)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (changed(TOP, ids=TOP.ids[:2]), r"targets.ids must be \(3, K\)"),
        (changed(TOP, ids=TOP.ids.int()), "must be int64"),
        (changed(TOP, ids=TOP.ids + V), r"targets.ids\[0, 0\] = .* is not in 0..8"),
        (changed(TOP, ids=TOP.ids * 0), "listed twice"),
        (changed(TOP, logprobs=TOP.logprobs * torch.nan), "targets.logprobs must hold numbers"),
        (changed(TOP, logprobs=TOP.logprobs[:, :1]), r"targets.logprobs must be \(3, 2\)"),
        (changed(TOP, tail_mass=TOP.tail_mass + 0.5), r"masses of targets\[0\] sum to 1.5"),
        (changed(TOP, tail_mass=TOP.tail_mass - 1.0), "tail_mass must not be negative"),
        (changed(PPS, weights=-PPS.weights), "weights must not be negative"),
        (changed(PPS, weights=PPS.weights / 2), "sum to 0.5"),
        (changed(PPS, entropy=PPS.entropy[:1]), r"targets.entropy must be \(3,\)"),
    ],
)
def test_targets_that_do_not_fit(targets: TopKTargets, message: str) -> None:
    with pytest.raises(InputError, match=message):
        distillation_loss(H, W, divergence="forward-kl", targets=targets)


def test_arguments_that_contradict_targets() -> None:
    with pytest.raises(InputError, match="stand for the teacher"):
        distillation_loss(H, W, H, W, divergence="forward-kl", targets=TOP)
    with pytest.raises(InputError, match="jsd is not defined for targets"):
        distillation_loss(H, W, divergence="jsd", targets=TOP)
    with pytest.raises(InputError, match=r"temperature is 2.0, the targets were taken at 1.0"):
        distillation_loss(H, W, divergence="forward-kl", targets=TOP, temperature=2.0)
    with pytest.raises(KernelUnavailableError, match="triton"):
        distillation_loss(H, W, divergence="forward-kl", targets=TOP, implementation="triton")


@pytest.mark.parametrize("make", [topk_targets, pps_targets])
def test_logits_that_give_no_targets(make: object) -> None:
    with pytest.raises(InputError, match="k must be at least 1"):
        make(LOGITS, 0)  # type: ignore[operator]
    with pytest.raises(InputError, match="temperature must be positive"):
        make(LOGITS, 2, temperature=0.0)  # type: ignore[operator]
    with pytest.raises(InputError, match=r"logits must be \(T, V\)"):
        make(LOGITS[0], 2)  # type: ignore[operator]
    with pytest.raises(InputError, match=r"logits\[1\] holds nan"):
        make(LOGITS.index_fill(0, torch.tensor([1]), torch.nan), 2)  # type: ignore[operator]
