"""The encoder before training: random weights, a checkpoint, or some of the teacher's layers.

It is put together as a folder in sentence-transformers format and read from there, so that what is
trained is what such a folder says.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from auditor.distill.embedding_folder import MODULES, EncoderFolder, encoder_folder, read_folder
from auditor.distill.embedding_subjects import needs_projection, teacher_folder
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_student import Init
from auditor.distill.student import module_from, shrunk_module
from auditor.models.quiet import quiet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_ENCODER = "AutoModel"
_LIBRARY = "sentence_transformers.models"
_WEIGHTS = ("*.safetensors", "*.bin", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.index.json")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncoderStudent:
    """A trainable fp32 encoder on the CPU."""

    module: "SentenceTransformer"
    max_tokens: int
    """Tokens that it reads of a text."""
    layer_map: tuple[int, ...] | None = None
    """Teacher layer that each student layer started from; None where none did."""


def build_encoder(recipe: Recipe, tokenizer: "PreTrainedTokenizerFast") -> EncoderStudent:
    """Return the student of a recipe; the same recipe gives the same weights.

    A text is cut after ``data.max_length`` tokens, or after fewer where the model reads fewer.

    Raises:
        RecipeError: more layers are asked for than the teacher has.
        SubjectError: a model cannot be read.
    """
    import torch

    from auditor.models.encoder import load_encoder

    torch.manual_seed(recipe.train.seed)
    teacher = teacher_folder(recipe)
    with TemporaryDirectory() as scratch, quiet():
        place = Path(scratch) / "student"
        layers = _assemble(recipe, teacher, tokenizer, place)
        if needs_projection(recipe, teacher):
            _project(place, teacher)
        module = load_encoder(place)
    module = module.float()
    # Trained on bare texts, whatever the teacher puts before them: so it must read them later.
    module.default_prompt_name = None
    limits = (module.max_seq_length, recipe.data.max_length)
    module.max_seq_length = min(limit for limit in limits if limit)
    return EncoderStudent(module=module, max_tokens=module.max_seq_length, layer_map=layers)


def _assemble(
    recipe: Recipe, teacher: EncoderFolder, tokenizer: "PreTrainedTokenizerFast", place: Path
) -> tuple[int, ...] | None:
    """Write the student's folder without a projection; return which layers it keeps."""
    spec = recipe.student
    if spec.shrink is not None:
        return _shrink(teacher, spec.shrink.layers, place)
    if spec.init is not None:
        encoder_from(bert_config(spec.init, tokenizer)).save_pretrained(place)
        tokenizer.save_pretrained(place)
        _pool(place, spec.init.hidden)
        if teacher.normalises and not needs_projection(recipe, teacher):
            _append(place, "Normalize")
        return None
    origin = encoder_folder(recipe, spec.from_ or "", plain=True)
    shutil.copytree(origin.path, place)
    if not (place / MODULES).is_file():
        _pool(place, origin.width)
    return None


def bert_config(init: Init, tokenizer: "PreTrainedTokenizerFast") -> Any:
    """Return the transformers configuration of an init encoder."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=init.hidden,
        num_hidden_layers=init.layers,
        num_attention_heads=init.heads,
        intermediate_size=init.ffn or 4 * init.hidden,
        max_position_embeddings=init.max_length,
        # Dropout fights the teacher's signal.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def encoder_from(config: Any) -> "PreTrainedModel":
    """Return an encoder of a configuration with random fp32 weights."""
    return module_from(config, _ENCODER)


def _shrink(teacher: EncoderFolder, layers: int, place: Path) -> tuple[int, ...]:
    import transformers

    from auditor.models.subject_files import subject_errors

    auto: Any = transformers.AutoModel
    with subject_errors(f"the encoder in {teacher.path}"):
        whole = auto.from_pretrained(
            str(teacher.transformer), local_files_only=True, trust_remote_code=False
        )
    module, kept = shrunk_module(whole, layers, _ENCODER)
    inside = teacher.transformer.relative_to(teacher.path)
    shutil.copytree(teacher.path, place)
    for pattern in _WEIGHTS:
        for path in (place / inside).glob(pattern):
            path.unlink()
    module.save_pretrained(place / inside)
    return kept


def _append(place: Path, kind: str, config: dict[str, Any] | None = None) -> Path:
    """Add a part to the encoder in `place`, after those that it has; return the part's folder."""
    path = place / MODULES
    listed = json.loads(path.read_bytes()) if path.is_file() else []
    number = len(listed)
    name = f"{number}_{kind}" if number else ""  # the transformer lies in the folder itself
    listed.append({"idx": number, "name": str(number), "path": name, "type": f"{_LIBRARY}.{kind}"})
    (place / name).mkdir(exist_ok=True)
    if config is not None:
        (place / name / "config.json").write_text(json.dumps(config))
    path.write_text(json.dumps(listed))
    return place / name


def _pool(place: Path, width: int) -> None:
    """Make the transformer in `place` an encoder: the mean over its tokens."""
    _append(place, "Transformer")
    _append(place, "Pooling", {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True})


def _project(place: Path, teacher: EncoderFolder) -> None:
    """Add a linear layer to the teacher's width, and the teacher's normalisation after it."""
    import torch
    from safetensors.torch import save_file

    student = read_folder(place, "the student")
    layer = torch.nn.Linear(student.width, teacher.width)
    config = {
        "in_features": student.width,
        "out_features": teacher.width,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    folder = _append(place, "Dense", config)
    state = {f"linear.{name}": tensor.detach() for name, tensor in layer.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    if teacher.normalises:
        _append(place, "Normalize")
