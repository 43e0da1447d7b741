"""Agreement of two models over texts: the package's way from texts to outputs, in tokens."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from auditor.bench import peers_torch
from auditor.bench.case_agreement import TOPK, outputs_of
from auditor.bench.experiment import OURS, Candidate, Experiment, Outputs, Package, Run, Settings
from auditor.bench.implementations import COMPILING, agreement_implementations
from auditor.data import data_dir
from auditor.kernels import linear_agreement
from auditor.models.quiet import quiet
from auditor.models.specifier import open_model

PEER = "transformers, text by text"
_MODELS = ("teacher", "sibling")


def _texts(settings: Settings) -> list[list[int]]:
    """Return sequences of byte tokens of mixed lengths."""
    count, longest = (4, 24) if settings.small else (256, 256)
    stream = torch.Generator().manual_seed(10)
    lengths = torch.randint(longest // 4, longest + 1, (count,), generator=stream).tolist()
    return [torch.randint(32, 127, (n,), generator=stream).tolist() for n in lengths]


def forced(settings: Settings) -> Experiment:
    """Both models read the same texts; every position is compared."""
    texts = _texts(settings)

    peer = Candidate(
        name=PEER,
        computes="22 outputs by torch eager",
        prepare=lambda: _text_by_text(texts, settings.device, torch.float32),
        package=Package(module="transformers", distribution="transformers"),
    )
    return Experiment(
        title="two small models read the same texts; agreement at every position, float32",
        shape={"texts": len(texts), "tokens": sum(len(text) for text in texts), "V": 259},
        candidates=(
            *(
                Candidate(
                    name=f"{OURS} {name}",
                    computes="22 outputs",
                    prepare=partial(_batched, texts, settings.device, name),
                    compiles=name in COMPILING,
                )
                for name in agreement_implementations()
            ),
            peer,
        ),
        truth=_text_by_text(texts, settings.device, torch.float64),
    )


def _batched(texts: list[list[int]], device: str, implementation: str) -> Run:
    """Return our way: hidden states in batches, logits a chunk at a time."""
    models = [open_model(f"tiny:{name}", device=device) for name in _MODELS]
    heads = [model.head().weight.float() for model in models]
    tokens = _followers(texts, device)

    def run() -> Outputs:
        a, b = (_states(list(model.hidden(texts))) for model in models)
        found = linear_agreement(
            a, heads[0], b, heads[1], tokens, topk=TOPK, implementation=implementation
        )
        return outputs_of(found)

    return run


def _followers(texts: list[list[int]], device: str) -> Tensor:
    """Return (n,): the token after each position but the last of each text."""
    return torch.tensor([token for text in texts for token in text[1:]], device=device)


def _states(parts: list[Tensor]) -> Tensor:
    """Return (n, D): every position but the last of each text, from which a token follows."""
    return torch.cat([states[:-1] for states in parts]).float()


def _text_by_text(texts: list[list[int]], device: str, dtype: torch.dtype) -> Run:
    """Return the plain way: whole logits of one text at a time, then the usual formulas."""
    from transformers import AutoModelForCausalLM

    folder = data_dir("probes") / "packs" / "tiny"
    with quiet():
        models: list[Any] = [
            AutoModelForCausalLM.from_pretrained(folder / name, dtype=dtype) for name in _MODELS
        ]
    for model in models:
        model.to(device).eval()

    def run() -> Outputs:
        parts: list[Outputs] = []
        with torch.no_grad():
            for text in texts:
                ids = torch.tensor([text], device=device)
                a, b = (model(input_ids=ids).logits[0, :-1] for model in models)
                parts.append(peers_torch.agreement_outputs(a, b, ids[0, 1:], TOPK))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    return run


EXPERIMENTS = {"forced": forced}
