"""A case whose suspect, probes, folder and file names hold what a terminal or a page would obey."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from command_line import Done, auditor

BIDI = "\u202egnorw\u202c \u2066hidden\u2069"
CSI = "\x1b[2J\x1b[31mred\x1b[0m \x9b31m"
OSC = "\x1b]8;;http://example.org\x1b\\click\x1b]8;;\x1b\\ \x1b]52;c;ZXZpbA==\x07"
REPLIES = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(5)",
    "bidi": f"The answer is {BIDI}.",
    "invisible": "zero\u200bwidth\u00adsoft\ufeffmark\u2060 \U000e0041tag",
    "csi": CSI,
    "osc": OSC,
    "dcs": "\x1bP1$tx\x1b\\ \x90q\x9c",
    "nul": "a\x00b\x7f\x08\r\nnext\u2028line\x85end",
    "long": "A" * 1_000_000,
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "markdown": "```\n# no heading\n[link](http://example.org) | cell | `tick`\n```\n<b>x</b>",
    "surrogate": "half \ud800 pair",
}
CATEGORY = "c \u202e\x1b[31m<script>alert(4)</script> | `x` [y](javascript:alert(6))"


def write_suite(path: Path) -> Path:
    """Write a suite with a probe for each reply; its texts are hostile too."""
    items = [
        {
            "id": f"p-{kind.replace(' ', '-')}",
            "category": CATEGORY,
            "messages": [
                {"role": "user", "content": f"Say {kind}: {OSC} <script>alert(3)</script> {BIDI}"}
            ],
        }
        for kind in REPLIES
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def write_records(path: Path) -> Path:
    """Write the replies of the suspect; a JSON escape names the half of a surrogate pair."""
    rows = [{"probe_id": f"p-{kind}", "text": text} for kind, text in REPLIES.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def hostile_folder(root: Path) -> Path:
    """Return a new folder whose name sets colours, reverses text and starts like a formula."""
    folder = root / "=ev\u202eil\x1b[31m <b>"
    folder.mkdir()
    return folder


def audited(folder: Path) -> Done:
    """Compare the recorded suspect with a tiny model into ``folder/case``."""
    suite = write_suite(folder / "own.jsonl")
    records = write_records(folder / "s\x1b]0;owned\x07.jsonl")
    return auditor(
        "compare", f"records:{records}", "tiny:teacher", "--control", "tiny:independent",
        "--suite", suite, "--max-new-tokens", 8, "--out", folder / "case",
    )  # fmt: skip


@contextmanager
def refusing_server(words: str, status: int = 401) -> Iterator[str]:
    """Run a server that refuses every request with `words`; yield its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({"error": {"message": words}}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
