"""A case in which scorers with two kinds of tokenizers cross-score every kind of author."""

import json
from types import SimpleNamespace

from collect_world import plan_of, save_model

ROLES = {"suspect": "suspect", "told": "suspect", "twin": "imitation"}
MERGES = [("Ġ", "Ã"), ("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e"), ("e", "r")]


def merging_tokenizer():
    """Return a byte-level tokenizer with merges over spaces, so that tokens cross a border."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from auditor.models.byte_tokenizer import byte_alphabet

    vocabulary = {character: byte for byte, character in enumerate(byte_alphabet())}
    for left, right in MERGES:
        vocabulary[left + right] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken("<end>", special=True, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")
    # The prompt ends with a space, which merges with what follows.
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %} "
    return tokenizer


def crossing_models(root):
    """Save a reference, a suspect and two controls, one with another tokenizer."""
    return SimpleNamespace(
        reference=save_model(root / "reference", 0),
        other=save_model(root / "other", 1),
        control=save_model(root / "control", 2),
        merging=save_model(root / "merging", 3, tokenizer=merging_tokenizer()),
    )


def crossing_plan(models, told, **changes):
    """Return a plan of every kind of scorer and author; `told` holds recorded replies.

    ``twin`` is a positive control with the reference's own weights.
    """
    subjects = {
        "reference": models.reference,
        "suspect": models.other,
        "told": told,
        "bytes": models.control,
        "merging": models.merging,
        "twin": models.reference,
    }
    plan = plan_of(subjects, **changes)
    for subject in plan["subjects"]:
        if subject["role"] != "reference":
            subject["role"] = ROLES.get(subject["name"], "independent")
    return plan


def write_records(path, plan, texts):
    """Write a file of recorded outputs: {probe index: replies, one a repeat}."""
    probes = [probe for suite in plan["suites"] for probe in suite["probes"]]
    lines = [
        json.dumps({"probe_id": probes[index], "repeat": repeat, "text": text})
        for index, replies in texts.items()
        for repeat, text in enumerate(replies)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def save_positions(folder, positions):
    """Save a random byte-level GPT-2 that learned a number of positions."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from auditor.models.byte_tokenizer import byte_tokenizer

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=positions,
            n_embd=16,
            n_layer=1,
            n_head=1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
