"""The shape that all members of an ensemble share, and the names of its weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from auditor.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Architecture = Literal["llama", "gpt2"]
ROPE_BASE = 10000.0
NORM_EPSILON = {"llama": 1e-6, "gpt2": 1e-5}
"""Those of transformers' configurations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder of `transformers`: LlamaForCausalLM or GPT2LMHeadModel, no dropout.

    Raises:
        InputError: a size is not positive, heads do not divide `hidden`, a llama head is odd
            (RoPE turns pairs), or an untied gpt2 is asked for.
    """

    architecture: Architecture
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    """Longest sequence, in tokens."""
    tied: bool = False
    """Whether the head is the embedding; gpt2 is always tied."""

    def __post_init__(self) -> None:
        sizes = ("vocabulary", "hidden", "layers", "heads", "intermediate", "positions")
        for name in sizes:
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.architecture not in NORM_EPSILON:
            raise InputError(f"architecture must be llama or gpt2, found {self.architecture!r}")
        if self.hidden % self.heads:
            raise InputError(f"{self.heads} heads do not divide hidden = {self.hidden}")
        if self.architecture == "gpt2" and not self.tied:
            raise InputError("gpt2 ties its head to its embedding", hint="give tied=True")
        if self.architecture == "llama" and self.head_size % 2:
            raise InputError(f"a llama head of {self.head_size} numbers is odd")

    @property
    def head_size(self) -> int:
        """Numbers a head."""
        return self.hidden // self.heads

    @property
    def embedding(self) -> str:
        """Name of the embedding matrix."""
        return (
            "model.embed_tokens.weight"
            if self.architecture == "llama"
            else "transformer.wte.weight"
        )

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the size of each weight of one member by its name in transformers' state dict.

        The embedding comes first. A tied head is left out: it is the embedding.
        """
        return _llama_tensors(self) if self.architecture == "llama" else _gpt2_tensors(self)

    def parameters(self) -> int:
        """Return the number of weights of one member."""
        total = 0
        for size in self.tensors().values():
            count = 1
            for length in size:
                count *= length
            total += count
        return total


def _llama_tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    d, inner = shape.hidden, shape.intermediate
    sizes: dict[str, tuple[int, ...]] = {shape.embedding: (shape.vocabulary, d)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        # q, k, v and gate, up stand side by side: each group is one matrix to the trainer.
        sizes |= {f"{at}self_attn.{name}_proj.weight": (d, d) for name in ("q", "k", "v", "o")}
        sizes |= {f"{at}mlp.{name}_proj.weight": (inner, d) for name in ("gate", "up")}
        sizes[f"{at}mlp.down_proj.weight"] = (d, inner)
        sizes[f"{at}input_layernorm.weight"] = (d,)
        sizes[f"{at}post_attention_layernorm.weight"] = (d,)
    sizes["model.norm.weight"] = (d,)
    if not shape.tied:
        sizes["lm_head.weight"] = (shape.vocabulary, d)
    return sizes


def _gpt2_tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    d, inner = shape.hidden, shape.intermediate
    sizes: dict[str, tuple[int, ...]] = {
        shape.embedding: (shape.vocabulary, d),
        "transformer.wpe.weight": (shape.positions, d),
    }
    # Conv1D keeps its matrices as (in, out).
    matrices = {
        "attn.c_attn": (d, 3 * d),
        "attn.c_proj": (d, d),
        "mlp.c_fc": (d, inner),
        "mlp.c_proj": (inner, d),
    }
    for layer in range(shape.layers):
        at = f"transformer.h.{layer}."
        for name, size in matrices.items():
            sizes |= {f"{at}{name}.weight": size, f"{at}{name}.bias": size[1:]}
        for name in ("ln_1", "ln_2"):
            sizes |= {f"{at}{name}.weight": (d,), f"{at}{name}.bias": (d,)}
    return sizes | {"transformer.ln_f.weight": (d,), "transformer.ln_f.bias": (d,)}


def config_of(shape: Shape, tokenizer: "PreTrainedTokenizerFast | None" = None) -> Any:
    """Return the transformers configuration whose model loads a member's weights.

    Token ids of start, end and padding are the tokenizer's, none without one.
    """
    from transformers import GPT2Config, LlamaConfig

    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    common: dict[str, Any] = {name: getattr(tokenizer, name, None) for name in names}
    common |= {"vocab_size": shape.vocabulary, "tie_word_embeddings": shape.tied}
    if shape.architecture == "gpt2":
        return GPT2Config(
            n_embd=shape.hidden,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_inner=shape.intermediate,
            n_positions=shape.positions,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **common,
        )
    return LlamaConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.positions,
        **common,
    )
