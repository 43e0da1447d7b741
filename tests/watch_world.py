"""A baseline written by hand, and a server whose replies a test decides."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from auditor.models.openai_server import reply_seed

SPEC = "tiny:zoo/reference-00"
RED = 0.6


def plain_baseline(spec: str = SPEC) -> dict[str, Any]:
    """Return a baseline of four questions that are answered red (60 %), blue, or otherwise."""
    group = {"passes": [[RED, 0.39, 0.01]], "ceilings": [0.75, 0.55, 0.05]}
    return {
        "schema": "auditor/watch-baseline/3",
        "spec": spec,
        "digest": None,
        "temperature": 1.0,
        "groups": [
            {
                "spec": spec,
                "system": None,
                "margin": 0.0,
                "passes": [{"dtype": None, "attention": None, "draws": 100}],
            }
        ],
        "cells": [
            {
                "probe": f"q{number}",
                "category": "pair",
                "messages": [{"role": "user", "content": f"Colour {number}?"}],
                "answers": ["red", "blue"],
                "groups": [group],
            }
            for number in range(4)
        ],
        "power": [{"change": "all", "share": 1.0, "queries": 5}],
    }


def stored_baseline(folder: Path, **changes: Any) -> Path:
    """Write the baseline, some of it changed, to a file of a folder."""
    path = folder / "baseline.json"
    path.write_text(json.dumps({**plain_baseline(), **changes}))
    return path


Deciding = Callable[[int, dict[str, Any]], dict[str, Any]]
"""Number of the request, from 0, and its body -> what the reply says; see `said`."""


def said(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an honest reply as the seed draws it, some of it changed.

    What may be: text, name, finish, status, refusal.
    """
    red = reply_seed(body["seed"], "colour", 0) / 2**31 < RED
    return {"text": "red" if red else "blue", "finish": "length", "name": "m", **changes}


class Colours:
    """A running server; `decide` may be replaced at any time."""

    def __init__(self, decide: Deciding) -> None:
        self.decide = decide
        self.received: list[dict[str, Any]] = []
        """Bodies of the requests, and whether they were answered."""
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.spec = f"openai:m?base_url=http://127.0.0.1:{self._http.server_address[1]}/v1"

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and content of a reply."""
        with self._lock:
            found = self.decide(len(self.received), body)
            status = found.get("status", 200)
            self.received.append({**body, "answered": status == 200})
        if status != 200:
            return status, {"error": {"message": "not now"}}
        message = {"role": "assistant", "content": found["text"], "refusal": found.get("refusal")}
        choice = {"index": 0, "finish_reason": found["finish"], "message": message}
        return 200, {"model": found["name"], "system_fingerprint": "fp", "choices": [choice]}

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End; the port answers no more."""
        self._http.shutdown()
        self._http.server_close()


def _handler(colours: Colours) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            status, content = colours.reply(json.loads(raw))
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextlib.contextmanager
def colour_server(decide: Deciding = lambda number, body: said(body)) -> Iterator[Colours]:
    """Serve until the block ends."""
    server = Colours(decide)
    server.start()
    try:
        yield server
    finally:
        server.stop()
