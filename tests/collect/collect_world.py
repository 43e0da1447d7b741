"""Tiny random models on disk, plans over the shipped suites, and cases of both."""

from pathlib import Path

from auditor.case import Case, open_case
from auditor.collect.suite import load_suite, select_probes

PROBES = 10
SUITES = ("reasoning", "continuations")


def save_model(
    folder: Path, seed: int, *, extra_tokens: int = 0, width: int = 32, tokenizer=None
) -> Path:
    """Save a random 2-layer Llama over bytes; extra tokens make it another vocabulary."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from auditor.models.byte_tokenizer import byte_tokenizer

    tokenizer = tokenizer or byte_tokenizer()
    tokenizer.add_tokens([f"<extra{i}>" for i in range(extra_tokens)])
    torch.manual_seed(seed)
    module = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.2,
        )
    )
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plan_of(subjects: dict[str, Path | str], **changes) -> dict:
    """Return a plan over two suites; the first subject is the reference."""
    from auditor.models import identify, parse

    suites = [load_suite(name) for name in changes.pop("suites", SUITES)]
    selected = select_probes(suites, changes.pop("probes", PROBES), 0)
    rows = []
    for name, spec in subjects.items():
        planned = parse(str(spec)).planned
        rows.append(
            {
                "name": name,
                "role": "suspect" if rows else "reference",
                "family": name,
                "spec": planned,
                "digest": identify(planned).digest,
            }
        )
    plan = {
        "schema": "auditor/plan/1",
        "command": "scan",
        "subjects": rows,
        "suites": [
            {
                "name": suite.name,
                "version": suite.version,
                "digest": suite.digest,
                "probes": [probe.id for probe in probes],
            }
            for suite, probes in selected
        ],
        "access": "WEIGHTS",
        "repeats": 2,
        "decoding": {"max_new_tokens": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
        "seed": 7,
        "device": "cpu",
        "dtype": None,
        "batch_tokens": 512,
        "encoder": None,
    }
    return {**plan, **changes}


def collected(root: Path, plan: dict) -> Case:
    """Collect a plan into a new or cut case at `root`, on one thread: the models are tiny."""
    import torch

    from auditor.collect.run import collect_case
    from auditor.progress import Silent

    case = open_case(root, plan)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        collect_case(case, Silent())
    finally:
        torch.set_num_threads(threads)
    return case
