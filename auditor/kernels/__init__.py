"""Similarity kernels: a float64 reference and fast implementations behind one function.

Names are loaded on first use, so importing this package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.kernels.cka import CkaStream, cka_stream
    from auditor.kernels.cka_table import pairwise_cka, u_centred_gram
    from auditor.kernels.cross_vocabulary import Categories, chunked_total, matched_loss, uld_loss
    from auditor.kernels.gram_logits import LogitCosines, LogitGrams, cosine_gram_logits
    from auditor.kernels.linear import TopMass, linear_agreement, top_mass
    from auditor.kernels.losses import DistillationLoss, distillation_loss, divergence_loss
    from auditor.kernels.neighbours import mutual_knn
    from auditor.kernels.next_byte import (
        TokenTable,
        next_byte_loss,
        next_byte_targets,
        text_byte_targets,
    )
    from auditor.kernels.pairwise import Agreement, agreement
    from auditor.kernels.permutation import (
        PermutationTest,
        energy_permutation,
        mmd_permutation,
        paired_sign_test,
    )
    from auditor.kernels.span_kl import (
        span_gap_loss,
        span_logprobs,
        span_policy_loss,
        token_logprobs,
    )
    from auditor.kernels.sparse import (
        PpsTargets,
        TopKTargets,
        pps_targets,
        topk_targets,
    )
    from auditor.kernels.workspace import Workspace

_HOMES = {
    "Agreement": "pairwise",
    "Categories": "cross_vocabulary",
    "CkaStream": "cka",
    "DistillationLoss": "losses",
    "LogitCosines": "gram_logits",
    "LogitGrams": "gram_logits",
    "PermutationTest": "permutation",
    "PpsTargets": "sparse",
    "TokenTable": "next_byte",
    "TopKTargets": "sparse",
    "TopMass": "linear",
    "Workspace": "workspace",
    "agreement": "pairwise",
    "chunked_total": "cross_vocabulary",
    "cka_stream": "cka",
    "cosine_gram_logits": "gram_logits",
    "distillation_loss": "losses",
    "divergence_loss": "losses",
    "energy_permutation": "permutation",
    "linear_agreement": "linear",
    "matched_loss": "cross_vocabulary",
    "mmd_permutation": "permutation",
    "mutual_knn": "neighbours",
    "next_byte_loss": "next_byte",
    "next_byte_targets": "next_byte",
    "paired_sign_test": "permutation",
    "pairwise_cka": "cka_table",
    "pps_targets": "sparse",
    "span_gap_loss": "span_kl",
    "span_logprobs": "span_kl",
    "span_policy_loss": "span_kl",
    "text_byte_targets": "next_byte",
    "token_logprobs": "span_kl",
    "top_mass": "linear",
    "topk_targets": "sparse",
    "u_centred_gram": "cka_table",
    "uld_loss": "cross_vocabulary",
}

__all__ = [
    "Agreement",
    "Categories",
    "CkaStream",
    "DistillationLoss",
    "LogitCosines",
    "LogitGrams",
    "PermutationTest",
    "PpsTargets",
    "TokenTable",
    "TopKTargets",
    "TopMass",
    "Workspace",
    "agreement",
    "chunked_total",
    "cka_stream",
    "cosine_gram_logits",
    "distillation_loss",
    "divergence_loss",
    "energy_permutation",
    "linear_agreement",
    "matched_loss",
    "mmd_permutation",
    "mutual_knn",
    "next_byte_loss",
    "next_byte_targets",
    "paired_sign_test",
    "pairwise_cka",
    "pps_targets",
    "span_gap_loss",
    "span_logprobs",
    "span_policy_loss",
    "text_byte_targets",
    "token_logprobs",
    "top_mass",
    "topk_targets",
    "u_centred_gram",
    "uld_loss",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the file that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # No file is called like a public name: importing it would put the module in the name's place.
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
