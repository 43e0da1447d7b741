"""A real process between a client and a server: forwards, counts, and injects faults.

``python fault_proxy.py UPSTREAM PORT_FILE``, UPSTREAM like http://127.0.0.1:8000. ``POST /control``
sets ``faults``, which meet the next requests, one each (null: none), and ``settings`` that change
every reply: ``model`` and ``fingerprint`` from reply ``after`` on, ``usage`` (false: none),
``seconds`` of delay; ``window`` seconds in which one request is answered and others get 429;
``forbidden``, a field of requests that get 403; ``refusing``, the status code of each path that is
not answered. ``GET /control`` gives what was received, each with what became of it and how many
were under way as it came, itself among them. Survives its upstream: that may be killed and started
again.
"""

import contextlib
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOCK = threading.Lock()
SETTINGS: dict[str, Any] = {}
FAULTS: list[dict[str, Any] | None] = []
RECEIVED: list[dict[str, Any]] = []
STATE: dict[str, Any] = {}


def reset(settings: dict[str, Any], faults: list[Any]) -> None:
    SETTINGS.clear()
    SETTINGS.update(settings)
    FAULTS[:] = faults
    RECEIVED.clear()
    STATE.update(answered=0, under_way=0, area=0.0, since=time.monotonic(), first=None, last=None)


def moved(by: int) -> None:
    """Count a request in or out; `area` is the integral of the number under way over time."""
    now = time.monotonic()
    STATE["area"] += STATE["under_way"] * (now - STATE["since"])
    STATE["since"] = now
    STATE["under_way"] += by
    STATE["first"] = now if STATE["first"] is None else STATE["first"]
    STATE["last"] = now


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/control":
            with LOCK:
                span = (STATE["last"] or 0.0) - (STATE["first"] or 0.0)
                mean = STATE["area"] / span if span else 0.0
                found = {"received": RECEIVED, "mean_under_way": mean}
                return self.send(200, json.dumps(found).encode())
        return self.send(*self.forwarded(None)[:2])

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/control":
            wanted = json.loads(raw)
            with LOCK:
                reset(wanted.get("settings", {}), wanted.get("faults", []))
            return self.send(200, b"{}")
        with LOCK:
            moved(1)
            row = {"path": self.path, "body": json.loads(raw), "became": None}
            row["under_way"] = STATE["under_way"]
            RECEIVED.append(row)
            fault = FAULTS.pop(0) if FAULTS else None
        try:
            time.sleep(SETTINGS.get("seconds", 0))
            fault = fault or self.refusal(row)
            return self.failed(row, raw, fault) if fault else self.passed(row, raw)
        finally:
            with LOCK:
                moved(-1)

    def refusal(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return how the settings refuse a request; None: not at all."""
        if SETTINGS.get("forbidden") in row["body"]:
            return {"kind": "status", "status": 403}
        if self.path in SETTINGS.get("refusing", {}):
            return {"kind": "status", "status": SETTINGS["refusing"][self.path]}
        window = SETTINGS.get("window")
        if window:
            number, passed = divmod(time.time(), window)
            with LOCK:
                free, STATE["window"] = STATE.get("window") != number, number
            if not free:
                wait = {"retry-after": str(window - passed)}
                return {"kind": "status", "status": 429, "headers": wait}
        return None

    def passed(self, row: dict[str, Any], raw: bytes) -> None:
        if self.path == SETTINGS.get("absent"):
            row["became"] = 404
            return self.send(404, b'{"detail": "Not Found"}')
        status, body, headers = self.forwarded(raw)
        if status == 200:
            body = self.changed(body)
        row["became"] = status
        return self.send(status, body, headers)

    def changed(self, body: bytes) -> bytes:
        reply = json.loads(body)
        with LOCK:
            STATE["answered"] += 1
            late = STATE["answered"] > SETTINGS.get("after", 0)
        if "fingerprint" in SETTINGS:
            reply["system_fingerprint"] = SETTINGS["fingerprint"] if late else "fp_first"
        if "model" in SETTINGS and late:
            reply["model"] = SETTINGS["model"]
        if "usage" in SETTINGS:
            reply["usage"] = SETTINGS["usage"] or None
        return json.dumps(reply).encode()

    def forwarded(self, raw: bytes | None) -> tuple[int, bytes, dict[str, str]]:
        headers = {"content-type": "application/json"}
        if self.headers.get("authorization"):
            headers["authorization"] = self.headers["authorization"]
        request = urllib.request.Request(self.upstream + self.path, data=raw, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request) as reply:  # noqa: S310
                return reply.status, reply.read(), {}
        except urllib.error.HTTPError as error:
            return error.code, error.read(), {}
        except (OSError, EOFError) as error:
            return 502, json.dumps({"error": {"message": f"upstream: {error}"}}).encode(), {}

    def failed(self, row: dict[str, Any], raw: bytes, fault: dict[str, Any]) -> None:
        row["became"] = fault["kind"]
        if fault["kind"] == "status":
            said = b'{"error": {"message": "a fault"}}'
            return self.send(
                fault["status"], self.forwarded(raw)[1] if "whole" in fault else said, fault
            )
        if fault["kind"] == "malformed":
            return self.send(200, self.forwarded(raw)[1][:-3])
        if fault["kind"] == "empty":
            return self.send(200, b'{"object": "error", "message": "no choices here"}')
        if fault["kind"] == "hang":
            return time.sleep(600)
        if fault["kind"] == "endless":
            return self.endless(fault)
        body = self.forwarded(raw)[1]
        if fault["kind"] == "slow":
            row["became"] = 200
            return self.send(200, body, fault, pause=fault["seconds"])
        # cut: a part of a whole reply, which the server was paid for
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.connection.close()
        self.close_connection = True
        return None

    def endless(self, fault: dict[str, Any]) -> None:
        """Send pieces of a body, with pauses, until nobody listens."""
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        piece = fault["piece"].encode() * fault.get("times", 1)
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                time.sleep(fault.get("pause", 0))
        self.close_connection = True

    def send(
        self, status: int, raw: bytes, fault: dict[str, Any] | None = None, pause: float = 0
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        for name, value in (fault or {}).get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        steps = 10 if pause else 1
        for index in range(steps):
            time.sleep(pause / steps)
            part = raw[index * len(raw) // steps : (index + 1) * len(raw) // steps]
            self.wfile.write(part)
            self.wfile.flush()


if __name__ == "__main__":
    reset({}, [])
    Handler.upstream = sys.argv[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    part = Path(sys.argv[2] + ".part")
    part.write_text(str(server.server_address[1]))
    part.replace(sys.argv[2])
    server.serve_forever()
