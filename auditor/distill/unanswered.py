"""Prompts that the student is to answer itself: rows with room for an answer in place of one."""

from auditor.distill.data import own_prompts
from auditor.distill.documents import Sources, prompt_digest, split_holdout
from auditor.distill.recipe import Recipe
from auditor.distill.student import Student
from auditor.errors import RecipeError
from auditor.types import Sample


def unanswered(recipe: Recipe, sources: Sources, student: Student) -> list[Sample]:
    """Return a sample for each (prompt, repeat), in order, as long as an answer can become.

    Its end tokens stand for the answer: a step is then planned for as many tokens as it may train
    on, and none of them is ever a target. Held-out prompts get an empty one: there is no answer to
    measure the student on; hold out text for that.

    Raises:
        RecipeError: the student has no end token.
    """
    choice, end = recipe.method.on_policy, student.tokenizer.eos_token_id
    if choice is None:
        raise RecipeError("method.on_policy is missing")
    if end is None:
        raise RecipeError(
            "the student's tokenizer has no end token, so its answers would never end",
            hint="give the student a tokenizer with one (student.init.tokenizer)",
        )
    render = own_prompts(student)
    digests = [prompt_digest(probe) for probe in sources.prompts]
    trained = set(split_holdout(digests, recipe.data.holdout).train)
    return [
        Sample(
            probe_id=probe.id,
            repeat=repeat,
            prompt="",
            prompt_ids=tuple(render(probe)),
            token_ids=(end,) * (choice.max_new_tokens if index in trained else 0),
            text="",
            finish_reason="length",
        )
        for index, probe in enumerate(sources.prompts)
        for repeat in range(recipe.data.sampling.samples)
    ]
