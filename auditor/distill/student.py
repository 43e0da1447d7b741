"""The student before training: random weights, a checkpoint, or some of the teacher's layers."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.recipe import Recipe
from auditor.distill.recipe_student import Init
from auditor.errors import RecipeError, SubjectError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from auditor.models.loading import Loaded

CAUSAL = "AutoModelForCausalLM"
"""Class of transformers that makes a causal language model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Student:
    """A trainable fp32 model on the CPU with its tokenizer."""

    module: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    layer_map: tuple[int, ...] | None = None
    """Teacher layer that each student layer started from; None where none did."""


def build_student(
    recipe: Recipe, teacher: "Loaded | None", tokenizer: "PreTrainedTokenizerFast"
) -> Student:
    """Return the student of a recipe; the same recipe gives the same weights.

    `teacher` is needed for shrinking only; `tokenizer` is that of `student_tokenizer`.

    Raises:
        RecipeError: more layers are asked for than the teacher has.
        SubjectError: the model named by ``from`` cannot be read.
    """
    import torch

    from auditor.models.loading import load_transformers

    torch.manual_seed(recipe.train.seed)
    spec = recipe.student
    if spec.init is not None:
        return Student(module=random_module(spec.init, tokenizer), tokenizer=tokenizer)
    if spec.from_ is not None:
        loaded = load_transformers(recipe.subject(spec.from_), device="cpu", dtype="float32")
        return Student(module=loaded.module, tokenizer=loaded.tokenizer)
    if spec.shrink is None or teacher is None:
        raise RecipeError("student.shrink keeps layers of a teacher, and there is none")
    module, kept = shrunk_module(teacher.module, spec.shrink.layers)
    return Student(module=module, tokenizer=teacher.tokenizer, layer_map=kept)


def student_tokenizer(
    recipe: Recipe, of_teacher: "PreTrainedTokenizerFast | None"
) -> "PreTrainedTokenizerFast":
    """Return the tokenizer that the student will have; no weights are read.

    Raises:
        RecipeError: it is to be the teacher's, and there is no teacher.
        SubjectError: it cannot be read.
    """
    from auditor.models.byte_tokenizer import byte_tokenizer
    from auditor.models.loading import load_tokenizer
    from auditor.models.source import locate
    from auditor.models.specifier import parse

    spec = recipe.student
    name = spec.init.tokenizer if spec.init else spec.from_ or "teacher"
    if spec.init and name == "bytes":
        return byte_tokenizer()
    if name != "teacher" or spec.from_:
        return load_tokenizer(locate(parse(recipe.subject(name))))
    if of_teacher is None:
        raise RecipeError("the student takes the tokenizer of a teacher, and there is none to take")
    return of_teacher


def random_module(init: Init, tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedModel":
    """Return a model with random fp32 weights drawn from torch's global generator."""
    return module_from(init_config(init, tokenizer))


def module_from(config: Any, auto: str = CAUSAL) -> "PreTrainedModel":
    """Return a model of a configuration with random fp32 weights.

    `auto` names the class of transformers that makes it: a causal language model's, or another.
    """
    import torch
    import transformers

    from auditor.models.quiet import quiet

    with quiet():
        module: PreTrainedModel = getattr(transformers, auto).from_config(
            config, dtype=torch.float32
        )
    return module


def init_config(init: Init, tokenizer: "PreTrainedTokenizerFast") -> Any:
    """Return the transformers configuration of an init student."""
    from transformers import GPT2Config, LlamaConfig

    common = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": init.tie,
    }
    if init.architecture == "gpt2":
        return GPT2Config(
            n_embd=init.hidden,
            n_layer=init.layers,
            n_head=init.heads,
            n_inner=init.ffn or 4 * init.hidden,
            n_positions=init.max_length,
            # Dropout fights the teacher's signal, and the losses here are measured without it.
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **common,
        )
    return LlamaConfig(
        hidden_size=init.hidden,
        num_hidden_layers=init.layers,
        num_attention_heads=init.heads,
        num_key_value_heads=init.kv_heads or init.heads,
        intermediate_size=init.ffn or -(-8 * init.hidden // 3 // 16) * 16,
        max_position_embeddings=init.max_length,
        **common,
    )


def kept_layers(total: int, kept: int) -> tuple[int, ...]:
    """Return which of `total` layers a student of `kept` layers starts from.

    Uniformly spaced, the first and the last among them (the first alone for one layer); a
    position halfway between two layers takes the even one, as Python rounds.

    Raises:
        RecipeError: more layers are asked for than there are.
    """
    if kept > total:
        raise RecipeError(
            f"student.shrink.layers is {kept} and the teacher has {total} layers",
            hint=f"set it to {total} or less",
        )
    return tuple(int(layer) for layer in np.rint(np.linspace(0, total - 1, kept)))


def shrunk_module(
    teacher: "PreTrainedModel", layers: int, auto: str = CAUSAL
) -> "tuple[PreTrainedModel, tuple[int, ...]]":
    """Return an fp32 copy of `teacher` with only some layers, and which ones.

    `auto` as in `module_from`.

    Raises:
        RecipeError: more layers are asked for than the teacher has.
        SubjectError: the teacher's layers cannot be found.
    """
    kept = kept_layers(int(teacher.config.num_hidden_layers), layers)
    prefix = _layer_prefix(teacher)
    student = module_from(_shrunk_config(teacher.config, kept), auto)
    wanted = student.state_dict()
    given = teacher.state_dict()
    state = {name: given[_teacher_name(name, prefix, kept)] for name in wanted}
    student.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    if hasattr(teacher, "generation_config"):  # an encoder has none
        student.generation_config = copy.deepcopy(teacher.generation_config)
    return student, kept


def _layer_prefix(module: "PreTrainedModel") -> str:
    """Return the name of the list of layers with a trailing dot: ``model.layers.``, ..."""
    import torch

    total = module.config.num_hidden_layers
    for name, child in module.named_modules():
        if isinstance(child, torch.nn.ModuleList) and len(child) == total:
            return name + "."
    raise SubjectError(
        f"no list of {total} layers in a {type(module).__name__}",
        hint="student.shrink works for decoders with one stack of layers; use init or from",
    )


def _shrunk_config(config: Any, kept: tuple[int, ...]) -> Any:
    smaller = copy.deepcopy(config)
    total = config.num_hidden_layers
    smaller.num_hidden_layers = len(kept)
    # Lists with one entry a layer (kinds of attention, ...) must lose the same entries.
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == total and name.startswith("layer"):
            setattr(smaller, name, [value[layer] for layer in kept])
    return smaller


def _teacher_name(name: str, prefix: str, kept: tuple[int, ...]) -> str:
    if not name.startswith(prefix):
        return name
    layer, _, rest = name.removeprefix(prefix).partition(".")
    return f"{prefix}{kept[int(layer)]}.{rest}"
