"""Documents that a model writes from nothing: what its text students train on."""

from typing import TYPE_CHECKING, Any

from auditor.controls.members import Member
from auditor.controls.pack_folder import PackFolder

if TYPE_CHECKING:
    from auditor.models.loading import Loaded

_TOGETHER = 512
_LONGEST = 128


def sampled_documents(
    folder: PackFolder, teacher: Member, count: int, temperature: float
) -> list[str]:
    """Return `count` documents that a member writes after its start token, at most 128 tokens each.

    The draws depend on the member's seed, so that they can be made again.
    """
    import torch

    from auditor.models.loading import load_transformers

    loaded = load_transformers(f"local:{folder.model(teacher.name)}", device="cpu", dtype="float32")
    documents: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(teacher.seed)
        while len(documents) < count:
            together = min(_TOGETHER, count - len(documents))
            documents += [text for text in _written(loaded, together, temperature) if text.strip()]
    return documents


def _written(loaded: "Loaded", count: int, temperature: float) -> list[str]:
    import torch
    from transformers import GenerationConfig

    tokenizer: Any = loaded.tokenizer
    module: Any = loaded.module
    plain: Any = GenerationConfig
    with torch.inference_mode():
        ids = module.generate(
            torch.full((count, 1), tokenizer.bos_token_id),
            attention_mask=torch.ones(count, 1, dtype=torch.int64),
            generation_config=plain(
                do_sample=True,
                temperature=temperature,
                top_k=0,
                max_new_tokens=_LONGEST,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
        )
    texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts
