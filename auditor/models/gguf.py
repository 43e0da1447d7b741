"""A GGUF file -> a plain transformers module, dequantised, and its tokenizer.

transformers converts; it reads the file several times, at seconds each, so its readers are
memoised while it works on one file. The paths given here have passed `gguf_header.read_header`,
which says clearly what is wrong with a damaged file.
"""

import contextlib
import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.errors import SubjectError
from auditor.models.quiet import quiet
from auditor.models.subject_files import subject_errors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def load_gguf(
    path: Path, dtype: "torch.dtype"
) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Return the module, on the CPU in `dtype`, and the tokenizer of a GGUF file.

    The module is not marked as quantised: it trains, and `save_pretrained` accepts it. Its
    generation config is the file's.

    Raises:
        SubjectError: tensors are missing, or the architecture or tokenizer is one that
            transformers cannot convert.
    """
    import transformers

    with _memoised(), quiet(), subject_errors(f"the model in {path}"):
        tokenizer = _tokenizer(path)
        models: Any = transformers.AutoModelForCausalLM
        converted, info = models.from_pretrained(
            str(path.parent),
            gguf_file=path.name,
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
            **_dequantised(),
        )
    # transformers fills missing tensors with random numbers and only logs it.
    if info["missing_keys"]:
        raise SubjectError(
            f"{path} lacks tensors of its architecture, {sorted(info['missing_keys'])[0]} among "
            "them",
            hint="convert the model again",
        )
    return _plain(converted, dtype), tokenizer


def gguf_tokenizer(path: Path) -> "PreTrainedTokenizerFast":
    """Return the tokenizer of a GGUF file; no tensor is read.

    Raises:
        SubjectError: its tokenizer cannot be converted.
    """
    with _memoised(), quiet(), subject_errors(f"the tokenizer of {path}"):
        return _tokenizer(path)


def _tokenizer(path: Path) -> "PreTrainedTokenizerFast":
    """Return a tokenizer of its own to whoever asks: padding and truncation are state of it."""
    found = path.stat()
    return copy.deepcopy(_converted(path, (found.st_ino, found.st_mtime_ns, found.st_size)))


@functools.lru_cache(maxsize=4)
def _converted(path: Path, state: tuple[int, int, int]) -> "PreTrainedTokenizerFast":
    """Convert a tokenizer, once for a file in a certain state: it takes seconds.

    A model is identified when it is planned and loaded later, each with its tokenizer.
    """
    del state
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(path.parent), gguf_file=path.name, local_files_only=True
    )
    return tokenizer


def _dequantised() -> dict[str, Any]:
    """Ask a transformers that could keep the weights packed to unpack them."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _plain(converted: "PreTrainedModel", dtype: "torch.dtype") -> "PreTrainedModel":
    """Return a copy that does not remember its quantised origin, which would refuse saving."""
    import torch

    config = copy.deepcopy(converted.config)
    vars(config).pop("quantization_config", None)  # kept by some versions of transformers
    with torch.random.fork_rng(devices=[]):  # initial values are drawn, and thrown away
        blank: Any = type(converted)(config)
        plain = blank.to(dtype)
    plain.load_state_dict(converted.state_dict())
    plain.generation_config = copy.deepcopy(converted.generation_config)
    return plain


@contextlib.contextmanager
def _memoised() -> Iterator[None]:
    """Let transformers read a file, and build a table of names, once instead of many times."""
    import gguf
    import transformers.modeling_gguf_pytorch_utils as conversion

    class PlainReader(gguf.GGUFReader):
        """Slices a plain array: np.memmap objects cost most of the time of reading."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    names = functools.lru_cache(gguf.get_tensor_name_map)
    bar = functools.partial(getattr(conversion, "tqdm"), disable=True)  # noqa: B009
    with (
        _replaced(gguf, "GGUFReader", functools.lru_cache(PlainReader)),
        _replaced(gguf, "get_tensor_name_map", names),
        _replaced(conversion, "tqdm", bar),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)
