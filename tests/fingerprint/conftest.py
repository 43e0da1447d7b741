"""Fingerprints of tiny models, a merge of two of them and a model with a BPE vocabulary."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))

from command_line import TINY, auditor
from fingerprint_files import SMALL, TERMS

from auditor.fingerprint.file import read_fingerprint


def _made(folder: Path, subject: object, name: str, *terms: str) -> Path:
    out = folder / f"{name}.json"
    done = auditor(
        "fingerprint", "make", subject, "--name", name, "--out", out, *(terms or TERMS), "--json"
    )
    assert done.code == 0, done.err + done.out
    return out


@pytest.fixture(scope="session")
def made():
    """Return the function that makes a fingerprint with the command: (folder, subject, name)."""
    return _made


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fingerprints")


@pytest.fixture(scope="session")
def files(folder) -> dict[str, Path]:
    """Fingerprints of the three shipped models."""
    return {
        name: _made(folder, f"tiny:{name}", name) for name in ("teacher", "sibling", "independent")
    }


@pytest.fixture(scope="session")
def small(folder):
    """Fingerprints of two models on few probes."""
    return {
        name: read_fingerprint(_made(folder, f"tiny:{name}", f"small-{name}", *SMALL))
        for name in ("teacher", "sibling")
    }


@pytest.fixture(scope="session")
def copied(folder) -> Path:
    """Fingerprint of the teacher under another name."""
    return _made(folder, "tiny:teacher", "copied")


@pytest.fixture(scope="session")
def merged(tmp_path_factory) -> Path:
    """0.7 of the teacher and 0.3 of the sibling."""
    import shutil

    from safetensors.torch import load_file, save_file

    target = tmp_path_factory.mktemp("merged") / "model"
    shutil.copytree(TINY / "teacher", target)
    ours, theirs = (load_file(TINY / n / "model.safetensors") for n in ("teacher", "sibling"))
    mixed = {name: 0.7 * ours[name] + 0.3 * theirs[name] for name in ours}
    save_file(mixed, target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.fixture(scope="session")
def bpe_model(tmp_path_factory) -> Path:
    """A random model whose byte-level BPE vocabulary was trained on the words of a suite."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from auditor.collect.suite import load_suite
    from auditor.models.replies_only import prompt_text

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator(map(prompt_text, load_suite("instructions").probes), trainer)
    size = core.get_vocab_size()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
    )
    target = tmp_path_factory.mktemp("bpe") / "model"
    LlamaForCausalLM(config).save_pretrained(target)
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(target)
    return target
