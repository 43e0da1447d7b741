"""The dry run: check everything that can be checked, and estimate, without loading weights."""

import re
from typing import TYPE_CHECKING, Any

from auditor.distill.documents import Sources, read_sources, split_holdout
from auditor.distill.forecast_cost import (
    Shape,
    cache_bytes,
    evaluation_memory,
    load,
    memory,
    seconds,
)
from auditor.distill.launch import check_launch
from auditor.distill.recipe import Recipe
from auditor.distill.sequences import document_rows
from auditor.distill.subjects import Subjects, check_step, check_subjects
from auditor.errors import RecipeError
from auditor.types import ModelRef

if TYPE_CHECKING:
    from auditor.models.checkpoint import StoredTensor

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blk|blocks)\.(\d+)\.")


def forecast(recipe: Recipe, accept_unknown: str | None = None) -> dict[str, Any]:
    """Return what running `recipe` would take; refuses whatever the run would refuse.

    Loads no weights. ``memory_bytes`` and ``seconds`` are estimates: parameters exactly,
    activations and speed roughly.

    Raises:
        RecipeError, PermissionRefusedError, VocabularyError, AccessError, SubjectError: as
            `auditor.distill.run.distill`.
    """
    check_launch(recipe)
    check_step(recipe)
    sources = read_sources(recipe)
    subjects = check_subjects(recipe, accept_unknown)
    if recipe.method.kind == "embedding":
        from auditor.distill.embedding_forecast import forecast_encoder

        return forecast_encoder(recipe, sources, subjects)
    shape = student_shape(recipe, subjects)
    permission = subjects.permission
    teacher = subjects.teacher
    data = _data(recipe, sources, subjects)
    alignment = None
    if subjects.alignment is not None:
        from auditor.distill.aligning import alignment_forecast

        alignment = alignment_forecast(recipe, subjects, sources)
    width = 0 if subjects.served_logits else _teacher_width(recipe)
    cache = cache_bytes(recipe, subjects, width, data)
    return {
        "schema": "auditor/forecast/1",
        "method": recipe.method.kind,
        "permission": "not needed" if permission is None else permission.as_json(),
        "teacher": teacher_part(teacher),
        "student": {"parameters": shape.parameters, "layers": shape.layers, "width": shape.width},
        "vocabulary": subjects.vocabulary_json(),
        "alignment": alignment,
        "data": data,
        "cache": cache,
        "steps": recipe.train.steps,
        "tokens": recipe.train.steps * recipe.train.batch_tokens,
        "memory_bytes": memory(recipe, subjects, shape),
        "evaluation_memory_bytes": evaluation_memory(recipe, subjects, shape),
        "seconds": seconds(shape, (teacher and teacher.parameters) or 0, load(recipe, cache)),
    }


def _teacher_width(recipe: Recipe) -> int:
    """Return D of a teacher that is to be captured; 0 where none is."""
    if recipe.teacher is None or recipe.method.cache is None:
        return 0
    tensors = _stored(recipe.subject(recipe.teacher))
    return _shape_of(tensors, range(_layer_count(tensors))).width


def student_shape(recipe: Recipe, subjects: Subjects) -> Shape:
    """Return the size of the student to be.

    Raises:
        RecipeError: more layers are kept than the teacher has.
    """
    from auditor.distill.student import init_config, kept_layers, module_from

    spec = recipe.student
    if spec.init is not None:
        import torch

        with torch.device("meta"):
            module = module_from(init_config(spec.init, subjects.student_tokenizer))
        return Shape(
            parameters=module.num_parameters(), layers=spec.init.layers, width=spec.init.hidden
        )
    if spec.from_ is not None:
        tensors = _stored(recipe.subject(spec.from_))
        return _shape_of(tensors, range(_layer_count(tensors)))
    tensors = _stored(recipe.subject(recipe.teacher or ""))
    layers = spec.shrink.layers if spec.shrink else 0
    return _shape_of(tensors, kept_layers(_layer_count(tensors), layers))


def _stored(spec: str) -> "list[StoredTensor]":
    from auditor.models.digest import stored
    from auditor.models.source import locate
    from auditor.models.specifier import parse

    return stored(locate(parse(spec)))


def teacher_part(teacher: ModelRef | None) -> dict[str, Any] | None:
    """Return what a forecast says of the teacher; None without one."""
    if teacher is None:
        return None
    names = ("spec", "digest", "parameters", "vocabulary")
    return {name: getattr(teacher, name) for name in names}


def filters_part(sources: Sources) -> list[dict[str, Any]]:
    """Return what a forecast says of each filter."""
    names = ("name", "of", "kept", "dropped", "reasons")
    return [{name: found[name] for name in names} for found in sources.filters]


def layer_number(tensor: "StoredTensor") -> int | None:
    """Return the layer that a tensor belongs to; None where it belongs to none."""
    found = _LAYER.search(tensor.name)
    return int(found.group(1)) if found else None


def _layer_count(tensors: "list[StoredTensor]") -> int:
    return 1 + max((layer for t in tensors if (layer := layer_number(t)) is not None), default=-1)


def _shape_of(tensors: "list[StoredTensor]", kept: Any) -> Shape:
    inside = [t for t in tensors if layer_number(t) is None or layer_number(t) in kept]
    widest = max(tensors, key=lambda t: max(t.shape, default=0))  # the embedding: (V, D)
    return Shape(
        parameters=sum(t.elements for t in inside),
        layers=len(kept),
        width=min(widest.shape, default=0),
    )


def _data(recipe: Recipe, sources: Sources, subjects: Subjects) -> dict[str, Any]:
    data = recipe.data
    documents = split_holdout(sources.documents.digests, data.holdout)
    prompts = split_holdout(sources.prompts.digests, data.holdout)
    texts = sources.documents.pick(documents.train)
    rows = document_rows(texts, subjects.student_tokenizer, data.max_length, packing=data.packing)
    tokens = sum(len(ids) - 1 for ids, _, _ in rows)
    answers = len(prompts.train) * data.sampling.samples
    if not tokens and not answers:
        raise RecipeError("the data gives no token to train on", hint="name longer texts")
    return {
        "documents": {"train": len(documents.train), "holdout": len(documents.holdout)},
        "prompts": {"train": len(prompts.train), "holdout": len(prompts.holdout)},
        "text_tokens": tokens,
        "answers": answers,
        "answer_tokens_at_most": answers * data.sampling.max_new_tokens,
        "filters": filters_part(sources),
        "left_out": {"repeated_prompts": sources.repeated},
    }
