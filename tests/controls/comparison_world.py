"""Model folders of a few kilobytes, and stand-ins for the Python of another tool."""

import importlib.util
import os
import sys
from pathlib import Path

import torch
from transform_models import gpt2, llama

ANSWERS = Path(__file__).with_name("peer_answers.json")
"""What the real tools answered, in the versions it names: about a trained 0.2M-parameter Llama
and its copy, a copy with 5 % noise, copies with permuted neurons or all dimensions permuted, an
independently trained model; and about two models that were never trained."""

TEXTS = ("The cat sat.", "Rain fell on the hill.", "One, two, three.", "A b c.", "It is late now.")


def folder(path, module):
    """Save a model with the byte tokenizer."""
    from auditor.models.byte_tokenizer import byte_tokenizer
    from auditor.models.quiet import quiet

    with quiet():
        module.save_pretrained(path)
        byte_tokenizer().save_pretrained(path)
    return path


def llama_folder(path, seed, scale=1.0, **sizes):
    """Save a random Llama whose matrices are multiplied by `scale`."""
    module = llama(seed, **{"width": 16, "layers": 3, **sizes})
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.mul_(scale)
    return folder(path, module)


def gpt2_folder(path, seed):
    return folder(path, gpt2(seed, width=16, layers=3))


def tool_python(path, body):
    """Write an executable that stands for a tool's Python; `body` answers `request`."""
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time\n"
        "def say(value): print(json.dumps(value), flush=True)\n"
        'say({"version": "9.9", "python": "3"})\n'
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n" + "".join(f"    {line}\n" for line in body.splitlines())
    )
    path.chmod(0o755)
    return path


def bare_python(path):
    """Write an executable that runs our script with no package installed at all."""
    # The arguments are: -I -X utf8 SCRIPT TOOL.
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$4" "$5"\n')
    path.chmod(0o755)
    return path


def installed_python(module):
    """Return the Python that has a real tool, or None: named in AUDITOR_PEERS, or this one.

    AUDITOR_PEERS is ``modeldna=PATH,weightscope=PATH,provenancekit=PATH,modelaudit=PATH``.
    """
    named = dict(
        pair.split("=", 1) for pair in os.environ.get("AUDITOR_PEERS", "").split(",") if pair
    )
    if module in named:
        return Path(named[module])
    return Path(sys.executable) if importlib.util.find_spec(module) else None
