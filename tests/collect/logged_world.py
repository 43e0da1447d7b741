"""A case of a suspect behind a server that has answered all: nobody is asked any more."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from auditor.canon import canonical_json
from auditor.case import Case, open_case
from auditor.collect.collection import Collection
from auditor.collect.custody import Custody
from auditor.collect.store import RecordWriter
from auditor.exchanges import exchange_path
from auditor.models.echoes import EchoForm, echo_request
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_replies import request_body
from auditor.models.openai_server import OpenAIServer, reply_seed
from auditor.models.server_access import ServerAccess
from auditor.models.server_address import server_address
from auditor.models.server_client import ServerClient
from auditor.models.server_request import written
from auditor.progress import Silent
from auditor.stored import planned_probes
from auditor.types import Access, Decoding, ModelRef

SERVER = "openai:memo?base_url=http://127.0.0.1:9/v1"
FORM = EchoForm(k=20)
START = 256
"""Id of the start token of the byte tokenizer; that of a byte is its value."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was said to a probe: a text to continue."""

    text: str
    reply: str
    """Of the reference."""
    tops: list[dict[str, float] | None]
    """What the server shows at each character of the text and the reference's reply."""
    said: list[str] = field(default_factory=lambda: ["", ""])
    """Its own replies."""
    shown: list[list[dict[str, float]]] = field(default_factory=lambda: [[], []])
    """At each character of its own replies; empty: nothing is shown."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """The case and what reads it."""

    run: Collection
    model: OpenAIServer

    @property
    def case(self) -> Case:
        """The case."""
        return self.run.case


@contextmanager
def logged_case(root: Path, reference: Path, told: list[Told]) -> Iterator[Logged]:
    """Write a case with the byte tokenizer of the model in `reference`, and open it."""
    names = [f"p{number}" for number in range(len(told))]
    case = open_case(root, _plan(reference, names))
    lines = [
        canonical_json({"id": name, "category": "x", "text": one.text}) + b"\n"
        for name, one in zip(names, told, strict=True)
    ]
    folder = case.data / "probes" / "memo@1"
    folder.mkdir(parents=True)
    (folder / "items.jsonl").write_bytes(b"".join(lines))
    _write_records(case, names, told)
    log = ExchangeLog(exchange_path(case, "suspect"))
    _write_log(log, case, told)
    address = server_address("memo", {"base_url": "http://127.0.0.1:9/v1", "concurrency": "1"})
    ref = ModelRef(spec=SERVER, access=Access.TOPK)
    offered = ServerAccess(logprobs={"text": 20}, echo=FORM)
    model = OpenAIServer(ServerClient(address, log), ref, address, offered)
    with closing(model), closing(Custody(case)) as custody:
        plan = case.read_json("plan.json")
        run = Collection(case=case, plan=plan, custody=custody, progress=Silent())
        yield Logged(run=run, model=model)


def _plan(reference: Path, names: list[str]) -> dict:
    subjects = [
        {"name": name, "role": role, "family": name, "spec": spec, "digest": None}
        for name, role, spec in (
            ("reference", "reference", f"local:{reference}"),
            ("suspect", "suspect", SERVER),
            *((f"other{n}", "independent", f"local:{reference}") for n in range(2)),
        )
    ]
    return {
        "schema": "auditor/plan/1",
        "command": "scan",
        "subjects": subjects,
        "suites": [{"name": "memo", "version": 1, "digest": "", "probes": names}],
        "access": "TOPK",
        "repeats": 2,
        "decoding": {"max_new_tokens": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
        "seed": 7,
        "batch_tokens": 512,
    }


def _write_records(case: Case, names: list[str], told: list[Told]) -> None:
    for subject in ("reference", "suspect"):
        rows = []
        for name, one in zip(names, told, strict=True):
            for repeat in range(2):
                text = one.reply if subject == "reference" else one.said[repeat]
                rows.append(
                    {
                        "probe_id": name,
                        "repeat": repeat,
                        "subject": subject,
                        "text": text,
                        "outcome": "ok" if text else "empty",
                        "prompt_ids": [START, *one.text.encode()],
                        "token_ids": list(text.encode()),
                    }
                )
        with RecordWriter(case.records(subject, "memo@1")) as writer:
            writer.append(rows)
            writer.finish()


def _write_log(log: ExchangeLog, case: Case, told: list[Told]) -> None:
    plan = case.read_json("plan.json")
    decoding = Decoding(**plan["decoding"])
    for probe, one in zip(planned_probes(case), told, strict=True):
        given = one.text + one.reply
        path, body = echo_request(given, "memo", FORM)
        _answer(log, written(path, body), given, one.tops)
        for repeat, (text, tops) in enumerate(zip(one.said, one.shown, strict=True)):
            seed = reply_seed(plan["seed"], probe.id, repeat)
            path, body = request_body(probe, "memo", decoding, seed, 20)
            _answer(log, written(path, body), text, tops)


def _answer(log: ExchangeLog, request, text: str, tops: list) -> None:
    """Log an answer that shows one token a character, each as likely as its list says."""
    values = [None if top is None else max(top.values()) for top in tops]
    shown = {"tokens": list(text), "token_logprobs": values, "top_logprobs": tops}
    choice = {"text": text, "finish_reason": "stop", "logprobs": shown if tops else None}
    entry = {
        "sent": f"2026-01-01T00:{len(log):08d}",
        "seconds": 0.5,
        "status": 200,
        "body": json.dumps({"model": "memo", "choices": [choice]}),
        "about": None,
    }
    log.append(request, entry, answered=True)
