"""How a recipe compares two models of different tokens, and what goes with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.distill.recipe_method import Method

DEFAULT = "span-kl"
"""What ``auto`` stands for where the vocabularies differ.

It compares every byte that both spell, whatever the vocabularies have in common. The others compare
distributions over tokens, and a teacher that writes a word as one token gives little to the shorter
token with which another tokenizer starts the same word (reports/benchmarks/distillation.md).
"""
OWN_LOSSES = ("span-kl", "uld")
"""Alignments that take no divergence."""


def alignment_rules(method: "Method") -> dict[str, bool]:
    """Return what may not go together with ``method.alignment``, and whether it is so."""
    name = method.alignment
    if name is None:
        return {}
    fixed = name in OWN_LOSSES
    return {
        f"method.alignment is for method logits, and method {method.kind} compares no "
        "distributions of two vocabularies": method.kind != "logits",
        f"method.alignment {name} is a loss of its own: remove method.divergence, or use "
        "matched-vocabulary": fixed and "divergence" in method.model_fields_set,
        f"method.alignment {name} has no mixture: remove method.beta": fixed
        and method.beta is not None,
        "method.normalise is for models of one vocabulary: remove it or method.alignment": (
            method.normalise
        ),
        "method.alignment span-kl compares probabilities of text, which the temperature of a "
        "token's distribution has no part in: remove method.temperature and method.t_squared": (
            name == "span-kl" and _tempered(method)
        ),
        "method.alignment auto stands for span-kl where the tokens differ, and that has neither "
        "divergence, beta nor temperature: remove them, or name matched-vocabulary": (
            name == "auto" and (_tempered(method) or _mixed(method))
        ),
        "a teacher of other tokens is asked while the student trains: remove method.cache or "
        "method.alignment (a cache is for students of the same tokens, or of bytes)": (
            method.cache is not None
        ),
        "method.hidden and method.attention compare the same tokens: remove method.alignment": (
            method.hidden is not None or method.attention is not None
        ),
    }


def _tempered(method: "Method") -> bool:
    return method.temperature != 1.0 or method.t_squared


def _mixed(method: "Method") -> bool:
    return method.divergence != "forward-kl" or method.beta is not None
