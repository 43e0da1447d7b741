"""Prompts that the student is to answer itself: rows with room for an answer in place of one."""

import numpy as np

from auditor.distill.data import own_prompts
from auditor.distill.documents import Sources, split_holdout
from auditor.distill.on_demand import OnDemand
from auditor.distill.recipe import Recipe
from auditor.distill.student import Student
from auditor.errors import RecipeError
from auditor.types import Sample


class Unanswered(OnDemand[Sample]):
    """A sample for each (prompt, repeat), in order, as long as an answer can become.

    Its end tokens stand for the answer: a step is then planned for as many tokens as it may train
    on, and none of them is ever a target. Held-out prompts get an empty one: there is no answer to
    measure the student on; hold out text for that. Each is made when it is asked for.
    """

    def __init__(self, recipe: Recipe, sources: Sources, student: Student) -> None:
        """Take who answers.

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
        self._answer = (end,) * choice.max_new_tokens
        self._render = own_prompts(student)
        self._prompts = sources.prompts
        self._repeats = recipe.data.sampling.samples
        held = split_holdout(sources.prompts.digests, recipe.data.holdout).holdout
        self._held = np.isin(np.arange(len(sources.prompts)), held)

    def __len__(self) -> int:
        return len(self._prompts) * self._repeats

    def member(self, index: int) -> Sample:
        """Return one sample."""
        prompt, repeat = divmod(index, self._repeats)
        probe = self._prompts[prompt]
        return Sample(
            probe_id=probe.id,
            repeat=repeat,
            prompt="",
            prompt_ids=tuple(self._render(probe)),
            token_ids=() if self._held[prompt] else self._answer,
            text="",
            finish_reason="length",
        )
