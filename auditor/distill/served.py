"""What a teacher behind a server can teach, and what a recipe must say for it.

It writes answers (method sequence), and where it shows the likeliest tokens of its own answers,
they are distributions to learn from (method logits with a top-k cache). It reads no given text.
"""

from auditor.distill.recipe import Recipe
from auditor.errors import AccessError, RecipeError


def is_served(recipe: Recipe) -> bool:
    """Say whether the recipe's teacher is behind a server."""
    from auditor.models.specifier import parse

    teacher = recipe.teacher
    return teacher is not None and parse(recipe.subject(teacher)).scheme == "openai"


def served_logits(recipe: Recipe) -> bool:
    """Say whether the student learns from log-probabilities that a server gives."""
    return recipe.method.kind == "logits" and is_served(recipe)


def check_served(recipe: Recipe) -> None:
    """Refuse what a teacher behind a server does not offer; asks it nothing.

    Raises:
        AccessError: the method needs weights, or distributions that the server does not give.
        RecipeError: the recipe asks for log-probabilities that would mean something else.
    """
    method, student = recipe.method, recipe.student
    if student.shrink is not None or method.kind not in ("sequence", "logits"):
        raise AccessError(
            f"{recipe.teacher} is behind a server: no weights to read and no layers to keep",
            hint="use method sequence, or logits with cache {scheme: topk}, and student.init or "
            "student.from; or name the model itself",
        )
    if student.init is not None and student.init.tokenizer == "teacher":
        raise RecipeError(
            f"{recipe.teacher} is behind a server and shows no tokenizer",
            hint="set student.init.tokenizer to the specifier of a model that has the teacher's "
            "tokenizer, or to bytes for method sequence",
        )
    if method.kind == "logits":
        _check_logits(recipe)


def _check_logits(recipe: Recipe) -> None:
    cache, data, sampling = recipe.method.cache, recipe.data, recipe.data.sampling
    if cache is None or cache.scheme != "topk":
        raise AccessError(
            f"{recipe.teacher} is behind a server, which shows the likeliest tokens at most",
            hint="set method.cache: {scheme: topk, k: 20}, or use method sequence",
        )
    if data.prompts is None or data.text or data.corpus or recipe.marks is not None:
        raise AccessError(
            f"{recipe.teacher} is behind a server, which weighs the tokens of its own answers only",
            hint="give data.prompts alone: no data.text, data.corpus or marks",
        )
    if (sampling.temperature, sampling.top_p, sampling.top_k) != (1.0, 1.0, 0):
        # Some servers give log-probabilities before these steps, others after them.
        raise RecipeError(
            "of answers drawn with temperature, top_p or top_k nobody knows here which "
            "distribution a server's log-probabilities are of",
            hint="set data.sampling: temperature 1, top_p 1, top_k 0",
        )
    if recipe.method.temperature != 1.0:
        raise RecipeError(
            "the likeliest tokens were chosen at temperature 1, and the rest of the mass cannot be "
            "tempered afterwards",
            hint="set method.temperature: 1",
        )
