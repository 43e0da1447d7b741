"""Teachers and students of different tokens for the tests: merged tokenizers, recipes."""

from pathlib import Path
from typing import Any

from distill_world import text_documents, write_permission, write_text

from auditor.distill.recipe_student import Init
from auditor.distill.student import random_module
from auditor.models.byte_tokenizer import byte_alphabet, byte_tokenizer

TEACHER = "tiny:zoo/reference-00"  # 512 tokens, merged on other texts


def merged_tokenizer(size: int, *, texts: list[str] | None = None) -> Any:
    """A byte-level BPE tokenizer of `size` ids, merged on the tests' words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|end|>", "<|start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts or text_documents(200, 9), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|end|>",
        bos_token="<|start|>",
        chat_template=byte_tokenizer().chat_template,
    )


def merged_model(folder: Path, size: int, *, scale: float = 1.0, seed: int = 4) -> Path:
    """Save a random llama of 24 channels with a merged tokenizer of `size` ids."""
    import torch

    torch.manual_seed(seed)
    tokenizer = merged_tokenizer(size)
    init = Init(architecture="llama", hidden=24, layers=1, heads=2, ffn=48, max_length=96, tie=True)
    module = random_module(init, tokenizer)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.mul_(scale)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def aligned_values(folder: Path, *, method: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Values of a recipe: a student of 300 merged tokens, a teacher of 512 others."""
    if not (folder / "own").exists():
        merged_model(folder / "own", 300)
    write_text(folder)
    write_permission(folder / "permission.json", TEACHER)
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 64}
    return {
        "teacher": TEACHER,
        "student": {"init": {**init, "tokenizer": "local:own"}},
        "data": {"text": "text.jsonl", "max_length": 32, "holdout": 0.1, "holdout_tokens": 256},
        "method": {"kind": "logits", **method},
        "train": {"steps": 8, "batch_tokens": 128, "lr": 0.003, "save_every": 3},
        "permission": "permission.json",
        **changes,
    }


def hand_tokenizer(*merges: str, specials: dict[str, str] | None = None) -> Any:
    """The 256 bytes and the named merges of two pieces ("a b"); specials by role, at the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    pieces = [*byte_alphabet(), *(left + right for left, right in pairs)]
    core = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=pairs))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, **(specials or {}))
