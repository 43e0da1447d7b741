"""A server process that answers every chat after a fixed time, and notes when each came and went.

``python waiting_server.py SECONDS PORT_FILE``. ``GET /times`` gives ``[[came, went], ...]`` in
seconds of its own clock, and forgets them.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

TIMES: list[tuple[float, float]] = []
REPLY = {
    "model": "waiting",
    "choices": [
        {
            "index": 0,
            "finish_reason": "length",
            "message": {"role": "assistant", "content": "a reply of some words " * 10},
        }
    ],
    "usage": {"prompt_tokens": 40, "completion_tokens": 48},
}


async def serve(seconds: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        came = time.monotonic()
        if head.startswith("get"):
            content = json.dumps(TIMES)
            TIMES.clear()
        else:
            length = head.partition("content-length:")[2].partition("\r\n")[0]
            await reader.readexactly(int(length))
            await asyncio.sleep(seconds)
            content = json.dumps(REPLY)
            TIMES.append((came, time.monotonic()))
        about = f"content-type: application/json\r\ncontent-length: {len(content)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{about}\r\n\r\n{content}".encode())
        await writer.drain()


async def main(seconds: float, port_file: Path) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(lambda r, w: serve(seconds, r, w), "127.0.0.1", 0)
    part = port_file.with_suffix(".part")
    part.write_text(str(server.sockets[0].getsockname()[1]))
    part.replace(port_file)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), Path(sys.argv[2])))
