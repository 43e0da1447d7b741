"""Asks a server 40 questions, to be interrupted: ``asking_process.py SPEC LOG``."""

import contextlib
import sys
from pathlib import Path

from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_server
from auditor.models.specifier import parse
from auditor.types import Decoding, Probe

if __name__ == "__main__":
    spec, path = sys.argv[1:]
    model = open_server(parse(spec), log=ExchangeLog(Path(path)))
    asked = [Probe(id=f"p{i}", category="x", text="Once upon") for i in range(40)]
    with contextlib.closing(model):
        for _ in model.fetch(asked, 1, Decoding(max_new_tokens=2), 0):
            pass
