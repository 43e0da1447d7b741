"""Small random models with the byte tokenizer, one folder an architecture."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from server_process import ModelServer, model_server

from auditor.models import open_model

_IDS = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,  # wide, so that the distributions are far from uniform
    **_IDS,
}


def _configs() -> dict[str, Any]:
    import transformers as t

    return {
        # 13 padded rows beyond the 259 ids of the tokenizer
        "llama": t.LlamaConfig(vocab_size=272, **_SIZES),
        "gpt2": t.GPT2Config(
            vocab_size=259, n_embd=32, n_layer=2, n_head=4, n_positions=64, **_IDS
        ),
        "gemma2": t.Gemma2Config(
            vocab_size=264, head_dim=8, final_logit_softcapping=3.0, sliding_window=16, **_SIZES
        ),
        "granite": t.GraniteConfig(vocab_size=259, logits_scaling=4.0, **_SIZES),
        "cohere": t.CohereConfig(vocab_size=259, logit_scale=0.25, **_SIZES),
        "phi": t.PhiConfig(vocab_size=259, **_SIZES),
    }


ARCHITECTURES = ("llama", "gpt2", "gemma2", "granite", "cohere", "phi")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models by architecture; tests copy a folder before they change it."""
    import torch
    from transformers import AutoModelForCausalLM

    from auditor.models.byte_tokenizer import byte_tokenizer
    from auditor.models.quiet import quiet

    root = tmp_path_factory.mktemp("models")
    with quiet():
        for seed, (name, config) in enumerate(_configs().items()):
            torch.manual_seed(seed)
            module = AutoModelForCausalLM.from_config(config)
            if name == "phi":  # a bias that matters
                torch.nn.init.normal_(module.lm_head.bias)
            module.save_pretrained(root / name)
            byte_tokenizer().save_pretrained(root / name)
    return {name: root / name for name in ARCHITECTURES}


@pytest.fixture(scope="session")
def opened(folders: dict[str, Path]) -> dict[str, Any]:
    """The models of `folders`, open; tests leave them unchanged."""
    return {
        name: open_model(str(folder), device="cpu", batch_tokens=128)
        for name, folder in folders.items()
    }


@pytest.fixture(scope="session")
def llama(opened: dict[str, Any]) -> Any:
    return opened["llama"]


@pytest.fixture
def spread(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that opens a folder by a map of its own."""

    def opened(folder: Path, places: Any, **options: Any) -> Any:
        path = tmp_path / "map.json"
        path.write_text(json.dumps(places))
        return open_model(f"local:{folder}?device_map={path}", batch_tokens=128, **options)

    return opened


@pytest.fixture(scope="session")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server process with the llama of `folders`."""
    with model_server(folders["llama"], tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def connect(server: ModelServer) -> Iterator[Callable[..., Any]]:
    """Opens models on the server, or of a specifier, and closes them again."""
    from auditor.models import parse
    from auditor.models.openai_server import open_server

    with contextlib.ExitStack() as stack:

        def connect(spec: str | None = None, **options: Any) -> Any:
            model = open_server(parse(spec or server.spec()), **options)
            return stack.enter_context(contextlib.closing(model))

        yield connect
