"""A model behind an OpenAI-compatible server: its replies and, where asked for, their top tokens.

What the server does before the model (chat template, start token) is not visible from here.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from auditor.errors import AccessError
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_replies import Reply, read_reply, request_body
from auditor.models.replies_only import RepliesOnly
from auditor.models.server_address import server_address
from auditor.models.server_client import Patience, ServerClient
from auditor.types import Access, Decoding, ModelRef, Probe, Sample

if TYPE_CHECKING:
    from auditor.models.specifier import Specifier

_USE_TEXT = "learn from its text alone: method sequence"


def open_server(
    specifier: "Specifier",
    *,
    log: ExchangeLog | None = None,
    top_logprobs: int | None = None,
    patience: Patience | None = None,
) -> "OpenAIServer":
    """Return a model on a server; nothing is sent before something is asked.

    Args:
        specifier: with scheme ``openai``.
        log: where attempts are kept, and replies found again.
        top_logprobs: likeliest tokens to ask for at every generated position; None: text only.
        patience: how long to go on asking.

    Raises:
        SubjectError: the address or the key cannot be used.
        MissingExtraError: the extra ``api`` is not installed.
    """
    address = server_address(specifier.rest, specifier.options)
    client = ServerClient(address, ExchangeLog() if log is None else log, patience)
    access = Access.TEXT if top_logprobs is None else Access.TOPK
    ref = ModelRef(spec=specifier.canonical, access=access)
    return OpenAIServer(
        client, ref, model=address.model, workers=address.concurrency, k=top_logprobs
    )


class OpenAIServer(RepliesOnly):
    """Implements `auditor.models.base.Model` at access TEXT or TOPK: it can only reply."""

    def __init__(
        self, client: ServerClient, ref: ModelRef, *, model: str, workers: int, k: int | None
    ) -> None:
        self._client = client
        self._ref = ref
        self._model = model
        self._workers = workers
        self._k = k

    @property
    def ref(self) -> ModelRef:
        """Identity: name and address; a server shows no digest."""
        return self._ref

    def sample(
        self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int
    ) -> Iterator[Sample]:
        """Yield n replies for each probe, in order of (probe, repeat), without token ids.

        Several requests are under way at once, but the first goes alone: where it is refused, no
        other was paid. Whether the seed is honoured is up to the server.

        Raises:
            AccessError: log-probabilities were asked for, and none or too few came.
            SubjectError, ServerError, StorageError: as `ServerClient.post`.
        """
        jobs = [(probe, repeat) for probe in probes for repeat in range(n)]
        if jobs and not self._client.reached:
            self.reply(*jobs[0], decoding, seed)  # in the log from here on
        broken = threading.Event()

        def ask(probe: Probe, repeat: int) -> Reply:
            if broken.is_set():
                raise CancelledError
            try:
                return self.reply(probe, repeat, decoding, seed)
            except BaseException:
                broken.set()  # what waits behind this request is not sent: it would be paid
                raise

        pool = ThreadPoolExecutor(self._workers)
        try:
            replies: list[Future[Reply]] = [
                pool.submit(ask, probe, repeat) for probe, repeat in jobs
            ]
            for (probe, repeat), future in zip(jobs, replies, strict=True):
                yield self._sample(probe, repeat, future.result())
        finally:
            # Requests under way end and are recorded; the others are not sent.
            broken.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def reply(self, probe: Probe, repeat: int, decoding: Decoding, seed: int) -> Reply:
        """Return one reply; from the log, without a call, where it was had before.

        Raises:
            AccessError, SubjectError, ServerError, StorageError: as `sample`.
        """
        drawn = reply_seed(seed, probe.id, repeat)
        path, body = request_body(probe, self._model, decoding, drawn, self._k)
        reply = read_reply(self._client.post(path, body))
        if self._k is not None:
            _check_logprobs(self._ref.spec, reply, self._k)
        return reply

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _sample(self, probe: Probe, repeat: int, reply: Reply) -> Sample:
        return Sample(
            probe_id=probe.id,
            repeat=repeat,
            prompt=self.render(probe),
            prompt_ids=(),
            token_ids=(),
            text=reply.text,
            finish_reason=reply.finish_reason,
        )

    def refusal(self, what: str) -> AccessError:
        """Return the error for something that a server does not show."""
        return AccessError(
            f"{self._ref.spec} is behind a server and shows no {what}",
            hint="name the model itself, or use what needs text only",
        )


def reply_seed(seed: int, probe_id: str, repeat: int) -> int:
    """Return the seed sent for one reply, 31 bits: it follows from the three alone."""
    mixed = hashlib.sha256(f"{seed}\n{probe_id}\n{repeat}".encode()).digest()
    return int.from_bytes(mixed[:4], "big") >> 1


def _check_logprobs(spec: str, reply: Reply, k: int) -> None:
    if reply.positions is None and reply.text:
        raise AccessError(f"{spec} answers without log-probabilities", hint=_USE_TEXT)
    fewest = min((len(position.top) for position in reply.positions or ()), default=k)
    if fewest == 0:
        raise AccessError(f"{spec} answers without the likeliest tokens", hint=_USE_TEXT)
    if fewest < k:
        raise AccessError(
            f"{spec} was asked for {k} log-probabilities at every token, and gave {fewest}",
            hint=f"set method.cache.k: {fewest}, or {_USE_TEXT}",
        )
