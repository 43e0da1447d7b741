"""How full collection keeps a server, and what recording costs beside the bare client.

``python tests/models/throughput.py [LIMIT SECONDS ROUNDS]...``: three numbers a row of the table,
requests at once, seconds of a reply, and rounds. Calls with and without recording take turns.
``python tests/models/throughput.py served FOLDER LIMIT ROUNDS``: `transformers serve` with the
model of a folder instead, which tells no times of its own.
"""

import contextlib
import datetime
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from started_process import started

from auditor.canon import canonical_json
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_replies import request_body
from auditor.models.openai_server import open_server
from auditor.models.specifier import parse
from auditor.types import Decoding, Message, Probe

WAVES = 12
"""Requests of a round, in multiples of the limit."""
DECODING = Decoding(temperature=1.0, max_new_tokens=48)
SHORT = Decoding(temperature=1.0, max_new_tokens=8)
"""Of a real server."""


@dataclass(frozen=True)
class Throughput:
    """What was measured at one limit."""

    full: float
    """Mean share of the limit that was under way at the server, from the first request's coming
    to the last one's; the worst round."""
    usual: float
    """The same, of the median round."""
    bare_full: float
    """The same share while the bare client asks; the median round."""
    sent: float
    """The share of the worst round as the client sees it, from its log: from sending to the end of
    the reply."""
    most: int
    """Requests that were under way at once, at most."""
    bare: float
    """Seconds of a round by the bare client; median."""
    recorded: float
    """Seconds of a round of collection; median."""
    bare_cpu: float
    """Milliseconds of CPU that the bare client takes a call; median."""
    recorded_cpu: float
    """The same of collection."""

    @property
    def overhead(self) -> float:
        """Share of the bare client's time that recording takes besides."""
        return self.recorded / self.bare - 1


@dataclass(frozen=True)
class Spent:
    """What a round took."""

    seconds: float
    cpu: float
    """Seconds of CPU, of all threads."""


class _Clock:
    """Runs from its making."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def spent(self) -> Spent:
        return Spent(time.monotonic() - self._wall, time.process_time() - self._cpu)


@contextlib.contextmanager
def waiting_server(seconds: float) -> Iterator[str]:
    """Serve until the block ends; yield the base URL."""
    with (
        tempfile.TemporaryDirectory() as folder,
        started("waiting_server.py", seconds, scratch=Path(folder)) as port,
    ):
        yield f"http://127.0.0.1:{port}/v1"


def probes(count: int) -> list[Probe]:
    """Return questions of some length."""
    said = "What would you say about the number {}, and why? " * 4
    return [
        Probe(
            id=f"p{i}",
            category="any",
            messages=(Message(role="user", content=said.replace("{}", str(i))),),
        )
        for i in range(count)
    ]


def bare(
    url: str,
    limit: int,
    asked: Sequence[Probe],
    model: str = "waiting",
    decoding: Decoding = DECODING,
) -> Spent:
    """Return the time in which as many threads as the limit post the same bodies."""
    bodies = [canonical_json(request_body(p, model, decoding, 0, None)[1]) for p in asked]
    limits = httpx.Limits(max_connections=limit, max_keepalive_connections=limit)
    headers = {"content-type": "application/json"}
    with (
        httpx.Client(limits=limits, timeout=300, headers=headers) as client,
        ThreadPoolExecutor(limit) as pool,
    ):
        clock = _Clock()
        for reply in pool.map(
            lambda body: client.post(url + "/chat/completions", content=body), bodies
        ):
            reply.raise_for_status()
        return clock.spent()


def recorded(
    url: str,
    limit: int,
    asked: Sequence[Probe],
    log: Path,
    model: str = "waiting",
    decoding: Decoding = DECODING,
) -> Spent:
    """Return the time in which collection has the same replies in its log."""
    spec = parse(f"openai:{model}?base_url={url}&concurrency={limit}")
    server = open_server(spec, log=ExchangeLog(log))
    clock = _Clock()
    done = sum(server.fetch(asked, 1, decoding, 0))
    spent = clock.spent()
    server.close()
    if done != len(asked):
        raise RuntimeError(f"{done} of {len(asked)} replies")
    return spent


def exchanges(log: Path) -> list[tuple[float, float]]:
    """Return when each request of a log was sent, and when its reply had come."""
    entries = [json.loads(line) for line in log.read_bytes().splitlines()]
    sent = [datetime.datetime.fromisoformat(entry["sent"]).timestamp() for entry in entries]
    return [(at, at + entry["seconds"]) for at, entry in zip(sent, entries, strict=True)]


def share(times: Sequence[tuple[float, float]], limit: int) -> float:
    """Return the mean share of the limit under way between the first coming and the last."""
    first, last = min(came for came, _ in times), max(came for came, _ in times)
    busy = sum(min(went, last) - came for came, went in times)
    return busy / (limit * (last - first))


def most_at_once(times: Sequence[tuple[float, float]]) -> int:
    """Return the most requests that were under way at one moment."""
    events = sorted([(came, 1) for came, _ in times] + [(went, -1) for _, went in times])
    count = most = 0
    for _, change in events:
        count += change
        most = max(most, count)
    return most


def measure(limit: int, seconds: float, rounds: int) -> Throughput:
    """Measure in turns: the bare client, then collection."""
    asked = probes(WAVES * limit)
    times: list[list[tuple[float, float]]] = []
    alone: list[list[tuple[float, float]]] = []
    logged, pairs = [], []
    with waiting_server(seconds) as url, tempfile.TemporaryDirectory() as folder:
        root = url.removesuffix("/v1")
        for number in range(rounds):
            without = bare(url, limit, asked)
            alone.append(httpx.get(root + "/times").json())
            log = Path(folder) / f"{number}.jsonl"
            kept = recorded(url, limit, asked, log)
            logged.append(exchanges(log))
            times.append(httpx.get(root + "/times").json())
            pairs.append((without, kept))
    return Throughput(
        full=min(share(one, limit) for one in times),
        usual=statistics.median(share(one, limit) for one in times),
        bare_full=statistics.median(share(one, limit) for one in alone),
        sent=min(share(one, limit) for one in logged),
        most=max(most_at_once(one) for one in times),
        bare=statistics.median(one.seconds for one, _ in pairs),
        recorded=statistics.median(one.seconds for _, one in pairs),
        bare_cpu=statistics.median(one.cpu for one, _ in pairs) / len(asked) * 1e3,
        recorded_cpu=statistics.median(one.cpu for _, one in pairs) / len(asked) * 1e3,
    )


def served(folder: Path, limit: int, rounds: int) -> str:
    """Return a line of what a real server was kept busy, as the client saw it."""
    from proxy_process import TransformersServer

    server, asked = TransformersServer(folder), probes(6 * limit)
    server.start()
    url, ratios, shares, seconds = f"{server.root}/v1", [], [], []
    try:
        bare(url, limit, asked, server.model, SHORT)  # the first requests load the model
        for number in range(rounds):
            without = bare(url, limit, asked, server.model, SHORT)
            with tempfile.TemporaryDirectory() as scratch:
                log = Path(scratch) / f"{number}.jsonl"
                kept = recorded(url, limit, asked, log, server.model, SHORT)
                times = exchanges(log)
            ratios.append(kept.seconds / without.seconds - 1)
            shares.append(share(times, limit))
            seconds += [went - came for came, went in times]
    finally:
        server.kill()
    return (
        f"{limit} at once, {statistics.median(seconds):.2f} s a reply: in flight {min(shares):.1%} "
        f"in the worst round, recording {statistics.median(ratios):+.1%} "
        f"({min(ratios):+.1%} to {max(ratios):+.1%})\n"
    )


def main(words: Sequence[str]) -> None:
    """Print a table."""
    if words and words[0] == "served":
        sys.stdout.write(served(Path(words[1]), int(words[2]), int(words[3])))
        return
    rows = words or ["8", "0.1", "5"]
    sys.stdout.write(
        "| limit | reply s | at the server, worst | median | bare client | sent, worst "
        "| bare s | recorded s | overhead | bare CPU ms | recorded CPU ms |\n"
    )
    for i in range(0, len(rows), 3):
        limit, seconds, rounds = int(rows[i]), float(rows[i + 1]), int(rows[i + 2])
        found = measure(limit, seconds, rounds)
        sys.stdout.write(
            f"| {limit} | {seconds} | {found.full:.1%} | {found.usual:.1%} "
            f"| {found.bare_full:.1%} | {found.sent:.1%} | {found.bare:.3f} "
            f"| {found.recorded:.3f} | {found.overhead:+.1%} "
            f"| {found.bare_cpu:.2f} | {found.recorded_cpu:.2f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
