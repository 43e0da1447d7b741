"""The dry run of an encoder: what it would take, without loading weights."""

from typing import Any

from auditor.distill.documents import Sources
from auditor.distill.embedding_data import encoder_texts, token_rows
from auditor.distill.embedding_folder import (
    EncoderFolder,
    encoder_folder,
    encoder_tensors,
    encoder_tokenizer,
)
from auditor.distill.embedding_plan import encoder_plan
from auditor.distill.embedding_student import bert_config, encoder_from
from auditor.distill.embedding_subjects import needs_projection, student_width, teacher_folder
from auditor.distill.embedding_targets import GROUP
from auditor.distill.forecast import filters_part, layer_number, teacher_part
from auditor.distill.forecast_cost import Load, Shape, evaluation_memory, memory, seconds
from auditor.distill.recipe import Recipe
from auditor.distill.student import kept_layers
from auditor.distill.subjects import Subjects

_LINE_BYTES = 160
"""Of a text beside its vector in embeddings.jsonl, at most: its digest, its share of the line."""


def forecast_encoder(recipe: Recipe, sources: Sources, subjects: Subjects) -> dict[str, Any]:
    """Return what running a recipe of method embedding would take.

    Raises:
        RecipeError: nothing is left to train on, or a text has no token.
        SubjectError: a model cannot be read.
    """
    teacher = teacher_folder(recipe)
    shape = encoder_shape(recipe, subjects, teacher)
    data = _data(recipe, sources, subjects, teacher)
    distinct, tokens = data["distinct_texts"], recipe.train.steps * recipe.train.batch_tokens
    permission = subjects.permission
    load = Load(trained=tokens, captured=data["teacher_tokens"], scored=0)
    parameters = 0 if subjects.teacher is None else subjects.teacher.parameters or 0
    return {
        "schema": "auditor/forecast/1",
        "method": recipe.method.kind,
        "permission": "not needed" if permission is None else permission.as_json(),
        "teacher": {**(teacher_part(subjects.teacher) or {}), "width": teacher.width},
        "student": {
            "parameters": shape.parameters,
            "layers": shape.layers,
            "width": shape.width,
            "projection": needs_projection(recipe, teacher),
        },
        "vocabulary": {"relation": subjects.relation, "ids": subjects.vocabulary},
        "data": data,
        "cache": {
            "texts": distinct,
            # base64: four characters for three bytes.
            "bytes_at_most": distinct * (_LINE_BYTES + 4 * (4 * teacher.width + 2) // 3)
            + 200 * -(-distinct // GROUP),
        },
        "steps": recipe.train.steps,
        "tokens": tokens,
        "memory_bytes": _without_logits(memory(recipe, subjects, shape)),
        "evaluation_memory_bytes": _without_logits(evaluation_memory(recipe, subjects, shape)),
        "seconds": seconds(shape, parameters, load),
    }


def encoder_shape(recipe: Recipe, subjects: Subjects, teacher: EncoderFolder) -> Shape:
    """Return the size of the student to be, its projection among the parameters."""
    import torch

    spec, width = recipe.student, student_width(recipe, teacher)
    added = (width + 1) * teacher.width if needs_projection(recipe, teacher) else 0
    if spec.init is not None:
        with torch.device("meta"):
            module = encoder_from(bert_config(spec.init, subjects.student_tokenizer))
        return Shape(
            parameters=module.num_parameters() + added, layers=spec.init.layers, width=width
        )
    origin = teacher if spec.from_ is None else encoder_folder(recipe, spec.from_, plain=True)
    kept = kept_layers(origin.layers, spec.shrink.layers if spec.shrink else origin.layers)
    stored = encoder_tensors(origin)
    inside = [t for t in stored if layer_number(t) is None or layer_number(t) in kept]
    return Shape(
        parameters=sum(tensor.elements for tensor in inside) + added, layers=len(kept), width=width
    )


def _data(
    recipe: Recipe, sources: Sources, subjects: Subjects, teacher: EncoderFolder
) -> dict[str, Any]:
    texts = encoder_texts(
        recipe.data, sources, subjects.student_tokenizer, _most_tokens(recipe, teacher)
    )
    encoder_plan(recipe, texts)  # refuses steps that are too small
    distinct = list(dict.fromkeys(texts.all))
    reads = token_rows(distinct, encoder_tokenizer(teacher), teacher.max_tokens, "teacher")
    return {
        "documents": {"train": len(texts.train), "holdout": len(texts.holdout)},
        "text_tokens": texts.data.record["train_targets"],
        "distinct_texts": len(distinct),
        "teacher_tokens": sum(len(ids) for ids, _, _ in reads),
        "filters": filters_part(sources),
    }


def _most_tokens(recipe: Recipe, teacher: EncoderFolder) -> int:
    """Return how many tokens the student will read of a text."""
    spec, own = recipe.student, teacher.max_tokens
    if spec.init is not None:
        own = spec.init.max_length
    elif spec.from_ is not None:
        own = encoder_folder(recipe, spec.from_, plain=True).max_tokens
    return min(own or recipe.data.max_length, recipe.data.max_length)


def _without_logits(sizes: dict[str, int]) -> dict[str, int]:
    left = {name: size for name, size in sizes.items() if name not in ("logits", "total")}
    return {**left, "total": sum(left.values())}
