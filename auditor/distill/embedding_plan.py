"""Which texts make up which step of an encoder's training."""

from auditor.distill.batches import BatchPlan, plan_steps
from auditor.distill.embedding_data import EncoderTexts
from auditor.distill.recipe import Recipe
from auditor.distill.subjects import step_parts
from auditor.errors import RecipeError

LEAST_COMPARED = 3
"""Texts of a step for loss similarity: with two there is one other, and nothing to choose."""


def encoder_plan(recipe: Recipe, texts: EncoderTexts) -> BatchPlan:
    """Return the steps of a recipe.

    Raises:
        RecipeError: the budget of a step is too small for the texts, or for comparing them.
    """
    train, choice = recipe.train, recipe.method.embedding
    plan = plan_steps(
        texts.data.train,
        steps=train.steps,
        batch_tokens=train.batch_tokens,
        parts=step_parts(recipe),
        seed=train.seed,
    )
    fewest = min(step_texts(plan, step) for step in range(train.steps))
    if choice is not None and choice.loss == "similarity" and fewest < LEAST_COMPARED:
        raise RecipeError(
            f"loss similarity compares the texts of a step, and a step has {fewest}",
            hint=f"raise train.batch_tokens until every step has {LEAST_COMPARED}, or lower "
            "data.max_length",
        )
    return plan


def step_texts(plan: BatchPlan, step: int) -> int:
    """Return how many texts a step has; steps from 0."""
    return sum(len(part) for part in plan.members[step * plan.parts : (step + 1) * plan.parts])
