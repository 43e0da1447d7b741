"""The tokenizer of a GGUF file is converted once, and shared by nobody."""

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from test_gguf_files import llama_metadata, write  # noqa: E402

from auditor.models import gguf as conversion  # noqa: E402


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "tiny.gguf", "t h")


def written(path, merge):
    metadata = llama_metadata()
    metadata["tokenizer.ggml.merges"] = (gguf.GGUFValueType.ARRAY, [merge])
    # The piece that the merge makes: id 259, after 256 bytes and 3 special tokens.
    metadata["tokenizer.ggml.tokens"][1][259] = merge.replace(" ", "")
    return write(path, metadata, {"a": (np.zeros(4, dtype=np.float32), None)})


@pytest.fixture
def conversions(monkeypatch):
    """Return the paths whose tokenizers transformers was asked for."""
    import transformers

    asked = []
    real = transformers.AutoTokenizer.from_pretrained

    def counted(folder, **options):
        asked.append(options["gguf_file"])
        return real(folder, **options)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", counted)
    return asked


def test_unchanged_file_is_converted_once(path, conversions):
    first, second = conversion.gguf_tokenizer(path), conversion.gguf_tokenizer(path)
    assert conversions == ["tiny.gguf"]
    assert first.encode("the") == second.encode("the") == [259, ord("e")]
    assert first.chat_template == second.chat_template


def test_what_one_does_with_it_is_not_seen_by_the_next(path):
    first = conversion.gguf_tokenizer(path)
    first.backend_tokenizer.enable_truncation(1)
    first.add_tokens(["<new>"])
    second = conversion.gguf_tokenizer(path)
    assert second.encode("the") == [259, ord("e")]
    assert len(second) == len(first) - 1


def test_changed_file_is_converted_again(path, conversions):
    conversion.gguf_tokenizer(path)
    path.unlink()
    written(path, "h e")
    assert conversion.gguf_tokenizer(path).encode("the") == [ord("t"), 259]
    assert len(conversions) == 2
