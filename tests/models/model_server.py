"""A real server process: a model of a folder, in float64, behind the OpenAI wire format.

``python model_server.py FOLDER PORT_FILE [PORT]``. One model, one request at a time. ``POST
/control`` replaces the settings and the faults that the next requests meet, one each; ``GET
/control`` gives what was received. The model is loaded with the first reply.
"""

import base64
import json
import sys
import threading
import time
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "tiny-model"
LOCK = threading.Lock()
SETTINGS: dict[str, Any] = {}
FAULTS: list[dict[str, Any]] = []
RECEIVED: list[dict[str, Any]] = []


class Served:
    """Draws tokens one by one; no cache, so that every row is one plain forward pass."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @cached_property
    def _loaded(self) -> Any:
        from auditor.models.loading import load_transformers
        from auditor.models.vocabulary import vocabulary_of

        loaded = load_transformers(f"local:{self._folder}", device="cpu", dtype="float32")
        return loaded.module.double(), loaded.tokenizer, vocabulary_of(loaded.tokenizer)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        import numpy as np
        import torch

        module, tokenizer, vocabulary = self._loaded
        prompt = self._prompt(path, body, tokenizer)
        random = np.random.RandomState(body.get("seed", 0))
        drawn: list[int] = []
        rows = []
        while len(drawn) < body["max_tokens"]:
            with torch.inference_mode():
                logits = module(torch.tensor([prompt + drawn])).logits[0, -1, : vocabulary.size]
            logprobs = torch.log_softmax(logits, -1).numpy()
            token = self._draw(logprobs, body["temperature"], random)
            end = token == tokenizer.eos_token_id
            if not end or SETTINGS.get("end_token", True):
                rows.append((token, logprobs))
            if end:
                break
            drawn.append(token)
        pieces = [vocabulary.pieces[token] for token in drawn]
        text = b"".join(pieces).decode(errors="replace")
        if "spoilt" in SETTINGS:
            text = text[: SETTINGS["spoilt"]] + "\u2603"
        reason = "stop" if len(drawn) < body["max_tokens"] else "length"
        shown = [self._position(row, vocabulary, body) for row in rows]
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(drawn)}
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice["logprobs"] = self._logprobs(path, body, shown)
        if path.endswith("/chat/completions"):
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return {"model": NAME, "choices": [choice], "usage": usage}

    def echoed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give a text back, with what was likely at each of its tokens."""
        import torch

        module, tokenizer, vocabulary = self._loaded
        ids = list(tokenizer(body["prompt"])["input_ids"])
        with torch.inference_mode():
            logits = module(torch.tensor([ids])).logits[0, :, : vocabulary.size]
        rows = torch.log_softmax(logits, -1).numpy()
        shown = [self._position((token, rows[i]), vocabulary, body) for i, token in enumerate(ids)]
        tops = [{t["token"]: t["logprob"] for t in row["top_logprobs"]} for row in shown]
        pieces = [vocabulary.pieces[token].decode(errors="replace") for token in ids]
        values = [float(rows[i][token]) for i, token in enumerate(ids[1:])]
        logprobs = {"tokens": pieces, "token_logprobs": [None, *values]}
        logprobs["top_logprobs"] = [None, *tops[:-1]]
        # A greedy new token, with a row of its own but where all rows stand one token late.
        new = int(rows[-1].argmax())
        raw = b"" if new == tokenizer.eos_token_id else vocabulary.pieces[new] or b""
        piece = raw.decode(errors="replace")
        if SETTINGS.get("late"):
            logprobs["top_logprobs"] = [None, *tops[1:]]
        elif piece:
            logprobs["tokens"].append(piece)
            logprobs["token_logprobs"].append(float(rows[-1][new]))
            logprobs["top_logprobs"].append(tops[-1])
        choice = {"index": 0, "finish_reason": "length", "text": body["prompt"] + piece}
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return {"model": NAME, "choices": [{**choice, "logprobs": logprobs}], "usage": usage}

    def scored(self, body: dict[str, Any]) -> list[dict[str, Any] | None]:
        """Return what vLLM lists as ``prompt_logprobs``: the token itself, then the likeliest."""
        import torch

        module, tokenizer, vocabulary = self._loaded
        ids = list(tokenizer(body["prompt"])["input_ids"])
        with torch.inference_mode():
            logits = module(torch.tensor([ids])).logits[0, :, : vocabulary.size]
        rows = torch.log_softmax(logits, -1).numpy()
        listed: list[dict[str, Any] | None] = [None]
        for token, row in zip(ids[1:], rows, strict=False):
            order = (-row).argsort(kind="stable").tolist()
            listed.append(
                {
                    str(index): {
                        "logprob": float(row[index]),
                        "rank": order.index(index) + 1,
                        "decoded_token": vocabulary.pieces[index].decode(errors="replace"),
                    }
                    for index in (token, *order[: body["prompt_logprobs"]])
                }
            )
        return listed

    def _prompt(self, path: str, body: dict[str, Any], tokenizer: Any) -> list[int]:
        if path.endswith("/chat/completions"):
            text = tokenizer.apply_chat_template(
                body["messages"], tokenize=False, add_generation_prompt=True
            )
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
        return list(tokenizer(body["prompt"])["input_ids"])

    def _draw(self, logprobs: Any, temperature: float, random: Any) -> int:
        import numpy as np

        if temperature == 0:
            return int(logprobs.argmax())
        weights = np.exp(logprobs / temperature)
        return int(random.choice(len(weights), p=weights / weights.sum()))

    def _position(self, row: Any, vocabulary: Any, body: dict[str, Any]) -> dict[str, Any]:
        token, logprobs = row
        asked = body.get("top_logprobs") or body.get("logprobs") or 0
        likeliest = (-logprobs).argsort(kind="stable")[: min(asked, SETTINGS.get("most", 1000))]

        def shown(index: int) -> dict[str, Any]:
            piece = SETTINGS.get("pieces", {}).get(str(index))
            raw = vocabulary.pieces[index] if piece is None else piece.encode()
            text = raw.decode(errors="replace")
            raw = text.encode() if SETTINGS.get("lossy") else raw
            return {"token": text, "bytes": list(raw), "logprob": float(logprobs[index])}

        return {**shown(token), "top_logprobs": [shown(int(index)) for index in likeliest]}

    def _logprobs(self, path: str, body: dict[str, Any], rows: list[Any]) -> Any:
        if not body.get("logprobs") or SETTINGS.get("logprobs") == "none":
            return None
        if path.endswith("/chat/completions") or not SETTINGS.get("strings"):
            return {"content": rows}
        return {
            "tokens": [row["token"] for row in rows],
            "token_logprobs": [row["logprob"] for row in rows],
            "top_logprobs": [
                {other["token"]: other["logprob"] for other in row["top_logprobs"]} for row in rows
            ],
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/control":
            self.send(200, {"received": RECEIVED})
        elif self.path == "/v1/models":
            self.send(200, {"data": [{"id": NAME}], "padding": "x" * SETTINGS.get("padding", 0)})
        else:
            self.send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with LOCK:
            if self.path == "/control":
                SETTINGS.clear()
                SETTINGS.update(body.get("settings", {}))
                FAULTS[:] = body.get("faults", [])
                RECEIVED.clear()
                return self.send(200, {})
            sent = self.headers.get("authorization")
            RECEIVED.append({"path": self.path, "body": body, "authorization": sent})
            if len(RECEIVED) > SETTINGS.get("refuse_after", len(RECEIVED)):
                return self.send(401, {"error": {"message": "no more for you"}})
            if FAULTS:
                return self.fail(FAULTS.pop(0))
            return self.reply(body, sent)

    def reply(self, body: dict[str, Any], sent: str | None) -> None:
        if SETTINGS.get("key") and sent != f"Bearer {SETTINGS['key']}":
            words = f"Incorrect API key provided: {sent}"
            return self.send(401, {"error": {"message": words, "code": "invalid_api_key"}})
        if self.path not in ("/v1/chat/completions", "/v1/completions"):
            return self.send(404, {"detail": "Not Found"})
        if body["model"] != NAME:
            words = f"The model `{body['model']}` does not exist."
            return self.send(404, {"error": {"message": words, "code": "model_not_found"}})
        asked = body.get("top_logprobs") or body.get("logprobs") or 0
        if asked > SETTINGS.get("limit", asked):
            return self.send(400, {"error": {"message": f"top_logprobs {asked} is too large"}})
        time.sleep(SETTINGS.get("seconds", 0))
        if body.get("echo") and SETTINGS.get("logprobs") != "none" and not SETTINGS.get("mute"):
            return self.send(200, self.served.echoed(body))
        answer = self.served.answer(self.path, body)
        if body.get("prompt_logprobs") and SETTINGS.get("prompt_logprobs"):
            answer["choices"][0]["prompt_logprobs"] = self.served.scored(body)
        if not SETTINGS.get("echo"):
            return self.send(200, answer)
        # As a server with a careless log: what it was sent stands in all that it sends.
        choice = answer["choices"][0]
        part = choice.get("message", choice)
        name = "content" if "message" in choice else "text"
        part[name] += f" {sent}"
        coded = base64.b64encode(str(sent).encode()).decode()
        return self.send(
            200, {**answer, "debug": [sent, coded]}, {"openai-version": f"1 {sent} {coded}"}
        )

    def fail(self, fault: dict[str, Any]) -> None:
        if fault.get("cut"):
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return
        raw = fault.get("raw", json.dumps({"error": {"message": "a fault"}})).encode()
        self.send(fault.get("status", 200), raw, fault.get("headers", {}))

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.send_header("x-request-id", f"request-{len(RECEIVED)}")
        self.send_header("set-cookie", "account=secret")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


if __name__ == "__main__":
    Handler.served = Served(sys.argv[1])
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    part = Path(sys.argv[2] + ".part")
    part.write_text(str(server.server_address[1]))
    part.replace(sys.argv[2])
    server.serve_forever()
