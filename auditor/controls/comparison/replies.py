"""Replies of local models behind a chat address on this machine, for tools that only know servers.

The replies are made beforehand, in one batch a model, and served from a table: the tool's own
client, prompts and retries run unchanged, and a model is never loaded twice.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from auditor.controls.comparison.opponent import MODELS
from auditor.errors import SubjectError
from auditor.types import Decoding, Message, Probe

_FEWEST_TOKENS = 16
_BATCH_TOKENS = 1 << 14  # all prompts of a tiny model at once


class ReplyServer:
    """Answers ``POST /v1/chat/completions`` on a free port of 127.0.0.1 from a table.

    A prompt that the table lacks is answered with 404: nothing is made up.
    """

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._table))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``, without the path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, model: str, replies: Mapping[str, str]) -> None:
        """Serve the replies {prompt: reply} as those of `model`, whose earlier ones are dropped."""
        for key in [key for key in self._table if key[0] == model]:
            del self._table[key]
        self._table.update({(model, prompt): reply for prompt, reply in replies.items()})

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def model_replies(folder: Path, prompts: Sequence[str], tokens: int) -> dict[str, str]:
    """Return the greedy reply of a model folder to each prompt, as {prompt: reply}.

    Replies end after `tokens` tokens, or where the positions that the model was built for end.

    Raises:
        SubjectError: the model cannot be used, or a prompt leaves it no room to reply.
    """
    from auditor.models import open_model

    with MODELS:
        model: Any = open_model(str(folder), device="cpu", batch_tokens=_BATCH_TOKENS)
        try:
            return _greedy(model, prompts, tokens)
        finally:
            model.close()


def _greedy(model: Any, prompts: Sequence[str], tokens: int) -> dict[str, str]:
    probes = [
        Probe(id=f"p{index}", category="chat", messages=(Message(role="user", content=prompt),))
        for index, prompt in enumerate(prompts)
    ]
    longest = max(len(model.prompt(probe).token_ids) for probe in probes)
    positions = getattr(model.module.config, "max_position_embeddings", None) or longest + tokens
    room = min(tokens, int(positions) - longest)
    if room < _FEWEST_TOKENS:
        raise SubjectError(
            f"a prompt of {longest} tokens leaves no room to reply in {positions} positions"
        )
    decoding = Decoding(temperature=0.0, max_new_tokens=room)
    samples = model.sample(probes, 1, decoding, seed=0)
    return {prompt: found.text for prompt, found in zip(prompts, samples, strict=True)}


def _handler(table: Mapping[tuple[str, str], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            request = json.loads(self.rfile.read(size))
            key = (request["model"], request["messages"][-1]["content"])
            if self.path != "/v1/chat/completions" or key not in table:
                self._send(404, {"error": {"message": "no reply of this model to this prompt"}})
                return
            message = {"role": "assistant", "content": table[key]}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send(200, {"object": "chat.completion", "model": key[0], "choices": [choice]})

        def _send(self, status: int, value: Mapping[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Print nothing."""

    return Handler
