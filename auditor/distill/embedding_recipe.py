"""The part `method.embedding` of a recipe, and what does not go together with it."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from auditor.distill.recipe_part import Part

if TYPE_CHECKING:
    from auditor.distill.recipe import Recipe


class EmbeddingChoice(Part):
    """A sentence encoder learns to embed texts as its teacher does."""

    loss: Literal["mse", "cosine", "similarity"] = "mse"
    """``mse``: squared error of the numbers; ``cosine``: 1 - cosine; ``similarity``: divergence of
    how similar a text is to the others of its step, which needs no common width."""
    temperature: Annotated[float, Field(gt=0.0)] = 0.05
    """Divides the cosines, for similarity."""
    projection: bool = True
    """Give a student of another width a linear layer to the teacher's width, which it keeps."""

    @property
    def needs_width(self) -> bool:
        """Whether the student's vectors must be as wide as the teacher's."""
        return self.loss != "similarity"


def embedding_rules(recipe: "Recipe") -> dict[str, bool]:
    """Return what may not go together with encoders, as sentences, and whether it is so."""
    method, data, train = recipe.method, recipe.data, recipe.train
    init, choice = recipe.student.init, method.embedding
    if method.kind != "embedding" or choice is None:
        return {
            "method.embedding is for method embedding": choice is not None,
            "student.init.architecture bert is for method embedding": init is not None
            and init.architecture == "bert",
        }
    return {
        "method embedding makes an encoder: student.init.architecture must be bert": (
            init is not None and init.architecture != "bert"
        ),
        "student.init.tie is for language models: an encoder has no unembedding": init is not None
        and not init.tie,
        "method embedding learns from texts that nobody answers: give data.text or data.corpus in "
        "place of data.prompts": data.prompts is not None,
        "train.lora is not for method embedding: remove it": train.lora is not None,
        "an encoder is saved in float32: remove train.save_dtype": train.save_dtype != "float32",
        "method.embedding.loss similarity compares the texts of a whole step: set "
        "train.accumulate to 1": choice.loss == "similarity" and train.accumulate > 1,
    }
