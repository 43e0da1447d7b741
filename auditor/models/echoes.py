"""What a server expects at each token of a given text: ``echo`` of ``/completions``, or vLLM's own.

The text is sent as the prompt and comes back before one new token, each of its tokens with the
likeliest at its place. Servers of open weights mostly offer it (llama.cpp, vLLM), hosted chats do
not. A start token that the server adds, and its first token, have no place in the text.

The server of llama-cpp-python (0.3.36 and before) shows, of models without a start token, beside
each token what is likely *after* it, and nothing for the new token: see `rows_are_late`.

Where an echo shows nothing, ``prompt_logprobs`` is asked for (vLLM and servers after its example):
a list in the reply, of one object for each token of the prompt, ``{token id: {"logprob", "rank",
"decoded_token"}}``, the token itself before the k likeliest; None at the first.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from auditor.errors import EndpointError, SubjectError, UndefinedError
from auditor.exchanges import ACCESS_PROBE
from auditor.models.openai_replies import MALFORMED, TEXT, logprob
from auditor.models.server_client import ServerClient
from auditor.models.server_request import written


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoedToken:
    """A token of a given text."""

    start: int
    """UTF-8 byte of the text where it begins."""
    end: int
    top: tuple[tuple[str, float], ...]
    """The likeliest tokens at its place and their log-probabilities, falling; none at the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoForm:
    """How a server shows what is likely in a text that it is given."""

    k: int
    """Log-probabilities at each token."""
    late: bool = False
    """Whether they stand beside the token before the one that they are about."""
    prompt_logprobs: bool = False
    """Whether they are asked for by vLLM's field, and not as an echo."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"k": self.k, "late": self.late, "prompt_logprobs": self.prompt_logprobs}


def echo_request(text: str, model: str, form: EchoForm) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request that has `text` scored."""
    # One new token: some servers refuse to give none.
    body = {"model": model, "prompt": text, "max_tokens": 1, "temperature": 0.0}
    if form.prompt_logprobs:
        return TEXT, {**body, "prompt_logprobs": form.k}
    return TEXT, {**body, "echo": True, "logprobs": form.k}


def rows_are_late(content: dict[str, Any], text: str) -> bool:
    """Say whether an echo shows beside each token what is likely after it.

    Then the new token is in the text that came back, has no row of its own, and is the likeliest of
    the last row. Where the reply ended without one, the reading under which the text is likelier.

    Args:
        content: the answer to `echo_request`.
        text: that was sent, after which the likeliest token is another than at its end.
    """
    rows = _echo_rows(content)
    tokens, tops = [token for token, _ in rows], [top for _, top in rows]
    if text not in ("".join(tokens), "".join(tokens[1:])):  # a start token may be shown
        return False
    new = str(content["choices"][0].get("text") or "").removeprefix(text)
    if new:
        return bool(tops[-1]) and max(tops[-1], key=tops[-1].__getitem__) == new
    return _likelihood(tokens, tops, late=True) > _likelihood(tokens, tops, late=False)


def _likelihood(tokens: Sequence[str], tops: Sequence[dict[str, float]], *, late: bool) -> float:
    """Return the log-probability of the tokens from the third on; one unlisted: as the last."""
    rows = tops[1:-1] if late else tops[2:]
    pairs = [(token, row) for token, row in zip(tokens[2:], rows, strict=True) if row]
    return sum(row.get(token, min(row.values())) for token, row in pairs)


def read_echo(content: dict[str, Any], text: str, form: EchoForm) -> tuple[EchoedToken, ...]:
    """Return the tokens of a text that a server gave back, each with at most `form.k` likely ones.

    Raises:
        UndefinedError: it did not give it back with log-probabilities, or its tokens do not spell
            it: shown as strings, parts of a character do not.
    """
    try:
        rows = _prompt_rows(content, text, form.k) if form.prompt_logprobs else _echo_rows(content)
    except MALFORMED as error:
        raise UndefinedError("the server does not give a text back with its tokens") from error
    if form.late:
        tops = [{}, *(top for _, top in rows[:-1])]
        rows = [(token, top) for (token, _), top in zip(rows, tops, strict=True)]
    raw = text.encode()
    for skipped in (0, 1):  # a start token is shown by some servers
        found = _spelled(rows[skipped:], raw, form.k)
        if found is not None:
            return found
    raise UndefinedError("the tokens that the server shows do not spell the text")


_Row = tuple[str, dict[str, float]]
"""A token, and the log-probabilities of what is likely at its place."""


def _echo_rows(content: dict[str, Any]) -> list[_Row]:
    shown = content["choices"][0]["logprobs"]
    listed = zip(shown["tokens"], shown["top_logprobs"], strict=True)
    return [(str(token), _likely((top or {}).items())) for token, top in listed]


def _likely(listed: Iterable[tuple[Any, Any]]) -> dict[str, float]:
    return {str(token): logprob(value) for token, value in listed}


def _prompt_rows(content: dict[str, Any], text: str, k: int) -> list[_Row]:
    """Return each token of a prompt, and what is likely at its place.

    Raises:
        ValueError: the tokens after the first do not end the text.
    """
    _, *shown = content["choices"][0]["prompt_logprobs"]
    listed = [list(entry.values()) for entry in shown]
    rows = [
        (
            str(tokens[0]["decoded_token"]),
            _likely(
                (t["decoded_token"], t["logprob"]) for t in tokens if (t.get("rank") or 0) <= k
            ),
        )
        for tokens in listed
    ]
    rest = "".join(token for token, _ in rows)
    if not rest or not text.endswith(rest):
        raise ValueError("the tokens of the prompt are not those of the text")
    # The first is shown nowhere; where it is a start token nothing is left for it.
    return [(text[: -len(rest)], {}), *rows]


def _spelled(rows: Sequence[_Row], raw: bytes, k: int) -> tuple[EchoedToken, ...] | None:
    found, at = [], 0
    for token, top in rows:
        if at == len(raw):
            break
        piece = token.encode()
        if raw[at : at + len(piece)] != piece:
            return None
        listed = sorted(top.items(), key=lambda item: -item[1])[:k]
        found.append(EchoedToken(start=at, end=at + len(piece), top=tuple(listed)))
        at += len(piece)
    return tuple(found) if at == len(raw) else None


_AHEAD = 4
"""Texts asked for before the first of them is read, for each request at once: one that is slow lets
some others go on."""


@dataclass(frozen=True, slots=True)
class Echoes:
    """Has a server score texts."""

    client: ServerClient
    model: str
    form: EchoForm
    at_once: int

    def of(
        self, texts: Iterable[tuple[str, str]]
    ) -> Generator[tuple[EchoedToken, ...], None, None]:
        """Yield the tokens of each (probe id, text), in order; few are asked for ahead of it.

        Raises:
            UndefinedError: as `read_echo`.
            SubjectError, ServerError, BudgetError, StorageError: as `ServerClient.post`.
        """
        ahead: deque[Future[tuple[EchoedToken, ...]]] = deque()
        with self.client.crew(self.at_once, single=(UndefinedError, SubjectError)) as crew:
            for text in texts:
                ahead.append(crew.submit(self._one, text))
                if len(ahead) >= _AHEAD * self.at_once:
                    yield crew.result(ahead.popleft())
            while ahead:
                yield crew.result(ahead.popleft())

    def _one(self, text: tuple[str, str]) -> tuple[EchoedToken, ...]:
        request = written(*echo_request(text[1], self.model, self.form))
        about = {"purpose": "reference text", "text_of": text[0]}
        return read_echo(self.client.post(request, about=about), text[1], self.form)


def echo_form(client: ServerClient, model: str, counts: Sequence[int]) -> EchoForm | None:
    """Return how a server shows what is likely in a text that it is given; None: it does not.

    Args:
        client: asks.
        model: by the name that the server knows.
        counts: of log-probabilities, tried in this order.

    Raises:
        BudgetError, StorageError: as `ServerClient.post`.
        ServerError: it goes on failing.
    """
    for own in (False, True):
        forms = [EchoForm(k=k, prompt_logprobs=own) for k in counts]
        try:
            found = _first_form(client, model, forms)
        except EndpointError:
            return None
        if found is not None:
            return found
    return None


def _first_form(client: ServerClient, model: str, forms: Sequence[EchoForm]) -> EchoForm | None:
    """Return what the first of some forms that a server accepts shows; None: nothing."""
    requests = [(form, written(*echo_request(_ASKED, model, form))) for form in forms]
    known = [(form, request) for form, request in requests if client.known(request)]
    for form, request in known or requests:
        try:
            return _form(client.post(request, about={"purpose": ACCESS_PROBE}), form)
        except UndefinedError:
            return None
        except SubjectError:
            continue
    return None


_ASKED = "One, two, three,"
"""A word follows a comma here, so that greedy tokens at its end and after it differ."""


def _form(content: dict[str, Any], asked: EchoForm) -> EchoForm | None:
    """Return the form of an answer to `_ASKED`; None where it shows nothing.

    Raises:
        UndefinedError: as `read_echo`.
    """
    tokens = read_echo(content, _ASKED, asked)
    fewest = min((len(token.top) for token in tokens[1:]), default=0)
    late = not asked.prompt_logprobs and rows_are_late(content, _ASKED)
    return replace(asked, k=min(fewest, asked.k), late=late) if fewest else None
