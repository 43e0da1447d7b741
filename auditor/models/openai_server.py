"""A model behind an OpenAI-compatible server: its replies and, where asked for, their top tokens.

What the server does before the model (chat template, start token) is not visible from here.
"""

import contextlib
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from auditor.errors import AccessError, SubjectError
from auditor.exchanges import reply_usage
from auditor.models.crew import worked_off
from auditor.models.echoes import Echoes
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_replies import Reply, read_reply, request_body
from auditor.models.replies_only import RepliesOnly
from auditor.models.server_access import ServerAccess, find_access
from auditor.models.server_address import ServerAddress, server_address
from auditor.models.server_budget import Budget
from auditor.models.server_client import ServerClient
from auditor.models.server_patience import Patience
from auditor.models.server_request import Request, written
from auditor.types import Access, Decoding, Exchange, ModelRef, Probe, Sample

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
    offered = ServerAccess(logprobs=dict.fromkeys(("chat", "text"), top_logprobs))
    ref = ModelRef(spec=specifier.canonical, access=offered.level)
    return OpenAIServer(client, ref, address, offered, demanded=top_logprobs)


def open_audited(
    specifier: "Specifier",
    *,
    log: ExchangeLog,
    kinds: Collection[str],
    most: Access,
    budget: Budget,
) -> "OpenAIServer":
    """Return a model on a server, asked which access it offers; see `server_access`.

    Args:
        specifier: with scheme ``openai``.
        log: where attempts are kept, and replies found again.
        kinds: of the probes that it will be asked: ``chat``, ``text``.
        most: at TEXT no log-probabilities are asked for.
        budget: is asked before each request.

    Raises:
        AccessError: fewer log-probabilities than the specifier demands.
        SubjectError, ServerError, BudgetError, StorageError: as `ServerClient.post`.
        MissingExtraError: the extra ``api`` is not installed.
    """
    address = server_address(specifier.rest, specifier.options)
    client = ServerClient(address, log, budget=budget)
    wanted = address.top_logprobs if most >= Access.TOPK else 0
    try:
        offered = find_access(client, address.model, kinds, wanted)
    except BaseException:
        client.close()
        raise
    ref = ModelRef(spec=specifier.canonical, access=offered.level)
    return OpenAIServer(client, ref, address, offered)


class OpenAIServer(RepliesOnly):
    """Implements `auditor.models.base.Model` at access TEXT or TOPK: it can only reply."""

    def __init__(
        self,
        client: ServerClient,
        ref: ModelRef,
        address: ServerAddress,
        offered: ServerAccess,
        demanded: int | None = None,
    ) -> None:
        """Ask nothing yet; every reply must have `demanded` log-probabilities at each token."""
        self._client = client
        self._ref = ref
        self._model = address.model
        self._extra = address.extra_body
        self._at_once = address.concurrency
        self._workers = _threads(address.concurrency)
        self._demanded = demanded
        self.offered = offered

    @property
    def echoes(self) -> Echoes | None:
        """What has it score given texts; None where it does not."""
        if self.offered.echo is None:
            return None
        return Echoes(self._client, self._model, self.offered.echo, self._at_once)

    @property
    def ref(self) -> ModelRef:
        """Identity: name and address; a server shows no digest."""
        return self._ref

    def sample(
        self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int
    ) -> Iterator[Sample]:
        """Yield n replies for each probe, in order of (probe, repeat), without token ids.

        Several requests are under way at once, but the first goes alone: where it is refused, no
        other was paid. After a failure, or where nobody asks for the rest, nothing more is sent;
        what is under way ends and is recorded. Whether the seed is honoured is up to the server.

        Raises:
            AccessError: log-probabilities were asked for, and none or too few came.
            SubjectError, ServerError, StorageError: as `ServerClient.post`.
        """
        jobs = list(_jobs(probes, n))
        if jobs and not self._client.reached:
            self.reply(*jobs[0], decoding, seed)  # in the log from here on
        with self._client.crew(self._workers) as crew:
            asked = [crew.submit(self.reply, *job, decoding, seed) for job in jobs]
            for job, future in zip(jobs, asked, strict=True):
                crew.result(future)
                yield self._sample(job, decoding, seed)  # out of the log

    def waiting(self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int) -> int:
        """Return how many of n replies for each probe are not in the log yet."""
        return sum(
            not self._client.known(self._request(probe, repeat, decoding, seed))
            for probe, repeat in _jobs(probes, n)
            if probe.kind not in self.offered.missing
        )

    def fetch(
        self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int
    ) -> Iterator[int]:
        """Have n replies for each probe in the log; yield 1 for each call that ended.

        As many requests as allowed are under way at all times. One that the server does not accept
        is left out: `sample` will say so.

        Raises:
            ServerError, BudgetError, StorageError: as `ServerClient.post`; what was under way has
                ended and is in the log.
        """
        asked = (
            (self._request(probe, repeat, decoding, seed), probe, repeat)
            for probe, repeat in _jobs(probes, n)
            if probe.kind not in self.offered.missing
        )
        lacking = (job for job in asked if not self._client.known(job[0]))

        def ask(job: tuple[Request, Probe, int]) -> None:
            with contextlib.suppress(SubjectError):  # kept by the client
                self._reply(*job)

        yield from worked_off(lacking, self._workers, ask, self._client.halt)

    def reply(self, probe: Probe, repeat: int, decoding: Decoding, seed: int) -> Reply:
        """Return one reply; from the log, without a call, where it was had before.

        Raises:
            AccessError, SubjectError, ServerError, StorageError: as `sample`.
        """
        return self._reply(self._request(probe, repeat, decoding, seed), probe, repeat)

    def _reply(self, request: Request, probe: Probe, repeat: int) -> Reply:
        reply = read_reply(self._answer(request, probe, repeat))
        if self._demanded is not None:
            _check_logprobs(self._ref.spec, reply, self._demanded)
        return reply

    def _answer(self, request: Request, probe: Probe, repeat: int) -> dict[str, Any]:
        if probe.kind in self.offered.missing:
            raise SubjectError(
                f"the server answers no {probe.kind} probes: {self.offered.missing[probe.kind]}",
                hint="choose suites of the other kind (auditor probes list)",
            )
        return self._client.post(request, about={"probe_id": probe.id, "repeat": repeat})

    def _request(self, probe: Probe, repeat: int, decoding: Decoding, seed: int) -> Request:
        drawn = reply_seed(seed, probe.id, repeat)
        shown = self.offered.logprobs.get(probe.kind)
        path, body = request_body(probe, self._model, decoding, drawn, shown)
        return written(path, {**self._extra, **body})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _sample(self, job: tuple[Probe, int], decoding: Decoding, seed: int) -> Sample:
        probe, repeat = job
        request = self._request(probe, repeat, decoding, seed)
        content = self._answer(request, probe, repeat)
        reply, usage = read_reply(content), reply_usage(content)
        return Sample(
            probe_id=probe.id,
            repeat=repeat,
            prompt=self.render(probe),
            prompt_ids=(),
            token_ids=(),
            text=reply.text,
            finish_reason=reply.finish_reason,
            exchange=Exchange(
                request_digest=request.digest,
                attempts=self._client.attempts(request),
                model=_text(content.get("model")),
                fingerprint=_text(content.get("system_fingerprint")),
                prompt_tokens=None if usage is None else usage[0],
                completion_tokens=None if usage is None else usage[1],
                outcome=reply.outcome,
            ),
        )

    def refusal(self, what: str) -> AccessError:
        """Return the error for something that a server does not show."""
        return AccessError(
            f"{self._ref.spec} is behind a server and shows no {what}",
            hint="name the model itself, or use what needs text only",
        )


def _threads(at_once: int) -> int:
    """Return the threads that keep `at_once` requests under way while some replies are recorded.

    Their number is the client's to limit. Recording ends on the disk, which may take as long as a
    short reply: then half of the threads wait for it. One at a time stays in order.
    """
    return at_once if at_once == 1 else 2 * at_once


def _jobs(probes: Sequence[Probe], n: int) -> Iterator[tuple[Probe, int]]:
    return ((probe, repeat) for probe in probes for repeat in range(n))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


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
