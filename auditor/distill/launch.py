"""What `accelerate launch` was asked for with ``--use_fsdp``, and which of it can be done."""

import contextlib
import os
from collections.abc import Iterator

from auditor.distill.ranks import rank_count
from auditor.distill.recipe import Recipe
from auditor.errors import InputError, RecipeError

_ASKED = "ACCELERATE_USE_FSDP"
# Where this is set, transformers counts on the first rank to hand its weights to the others, the
# teacher's too; nobody does that here.
_EMPTY_RANKS = "FSDP_CPU_RAM_EFFICIENT_LOADING"
_REFUSED = {
    "FSDP_OFFLOAD_PARAMS": "offload_params",
    "FSDP_ACTIVATION_CHECKPOINTING": "activation_checkpointing",
}


def shards_student() -> bool:
    """Say whether each rank keeps only a part of the student's weights: FSDP of several ranks."""
    return _is_set(_ASKED) and rank_count() > 1


def reshards_layers() -> bool:
    """Say whether a layer's whole weights are dropped between its forward and its backward."""
    return os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"


def check_launch(recipe: Recipe) -> None:
    """Refuse what cannot be trained with parted weights, before anything is read.

    Models are loaded whole by every rank from here on, whatever the launcher says.

    Raises:
        InputError: FSDP of version 1, or with an option that is not offered here.
        RecipeError: the method writes with the student's weights, or trains in one process.
    """
    if not shards_student():
        return
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise InputError(
            "a student is parted over the ranks by FSDP 2, and the launcher asks for version 1",
            hint="add --fsdp_version 2 to accelerate launch, or fsdp_version: 2 to its file",
        )
    for variable, option in _REFUSED.items():
        if _is_set(variable):
            raise InputError(
                f"fsdp_{option} is not offered here",
                hint=f"launch with --fsdp_{option} false",
            )
    if recipe.method.on_policy is not None:
        # Ranks write answers of different lengths, and each token takes the weights of all ranks.
        raise RecipeError(
            "the student writes answers of its own, for which every rank needs its whole weights",
            hint="launch without --use_fsdp (--multi_gpu keeps the student whole), or use method "
            "logits",
        )
    os.environ[_EMPTY_RANKS] = "false"


@contextlib.contextmanager
def whole_models() -> Iterator[None]:
    """Hide the launcher's FSDP from accelerate, which would part the student in its own way."""
    asked = os.environ.pop(_ASKED, None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ[_ASKED] = asked


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() in ("true", "1", "yes")
