"""Where a model behind an OpenAI-compatible server is: ``openai:MODEL?base_url=URL``.

Further options: ``key_env`` names the environment variable that holds the key (OPENAI_API_KEY if
absent), ``key_file`` an absolute path to a file that holds nothing else, ``concurrency`` the number
of requests under way at once, ``top_logprobs`` the log-probabilities that are demanded at each
token (0: none is asked for), ``extra_body`` a JSON object that is added to every request for a
reply: servers draw with settings of their own (llama.cpp with min_p 0.05) which the API cannot
name. A key itself stands in no specifier and in no file that is written.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from auditor.canon import canonical_json, whole_text
from auditor.errors import SubjectError

DEFAULT_KEY = "OPENAI_API_KEY"
CONCURRENCY = 8
"""Requests under way at once, if the specifier names no number."""
MOST_CONCURRENT = 256
FORM = "openai:MODEL?base_url=URL"
SETTINGS = ("concurrency", "key_env", "key_file")
"""Options that say how to ask, not whom: they are no part of a subject's identity."""
_OPTIONS = ("base_url", "top_logprobs", "extra_body", *SETTINGS)
_OWN = (
    *("echo", "logprobs", "max_tokens", "messages", "model", "n", "prompt", "seed", "stream"),
    *("temperature", "top_logprobs", "top_p"),
)
"""Fields of a request that come from the plan."""
_SECRET = ("api_key", "apikey", "authorization", "key", "password", "secret")
_MOST_LOGPROBS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A model on a server, and where its key is. Holds no key."""

    model: str
    base_url: str
    """Without a slash at its end; for most servers it ends with ``/v1``."""
    key_env: str | None = None
    key_file: Path | None = None
    concurrency: int = CONCURRENCY
    top_logprobs: int | None = None
    """Demanded at each token; 0: none is asked for; None: as many as the server shows."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every request for a reply."""

    def key(self) -> str | None:
        """Return the key, read now; None where no variable or file is named and none is set.

        Raises:
            SubjectError: the variable or file that the specifier names is missing or empty.
        """
        if self.key_file is not None:
            return _sendable(_file_key(self.key_file), self.key_file)
        key = os.environ.get(self.key_env or DEFAULT_KEY, "").strip()
        if not key and self.key_env is not None:
            raise SubjectError(
                f"the environment variable {self.key_env} holds no key",
                hint=f"set it, or leave key_env out of the specifier to read {DEFAULT_KEY}",
            )
        return _sendable(key, self.key_env or DEFAULT_KEY) or None


def _sendable(key: str, source: str | Path) -> str:
    """Return a key that a header can carry; whoever sends another one may show it in an error."""
    if not all(" " <= letter <= "~" for letter in key):
        raise SubjectError(
            f"the key in {source} holds a letter that no key has",
            hint="it must be one line of printable ASCII: copy it again",
        )
    return key


def server_address(model: str, options: Mapping[str, str]) -> ServerAddress:
    """Return the address that a specifier's parts name.

    Raises:
        SubjectError: an unknown or malformed option, or no base_url.
    """
    unknown = sorted({*options} - {*_OPTIONS})
    if unknown:
        raise SubjectError(
            f"openai: takes no option {unknown[0]!r}", hint=f"options: {', '.join(_OPTIONS)}"
        )
    if any(whole_text(text) != text for text in (model, *options.values())):
        # Not shown: it may hold a secret.
        raise SubjectError("openai: a part of the specifier is no UTF-8 text", hint=f"write {FORM}")
    if not model:
        raise SubjectError("openai: names no model", hint=f"write {FORM}")
    if "key_env" in options and "key_file" in options:
        raise SubjectError("key_env and key_file both name a key", hint="keep one of them")
    path = Path(options["key_file"]).expanduser() if "key_file" in options else None
    if path is not None and not path.is_absolute():
        raise SubjectError(f"key_file {path} is not absolute", hint="write it from / or ~ on")
    return ServerAddress(
        model=model,
        base_url=_checked_url(options.get("base_url", "")),
        key_env=options.get("key_env"),
        key_file=path,
        concurrency=_checked_concurrency(options.get("concurrency", str(CONCURRENCY))),
        top_logprobs=_checked_logprobs(options.get("top_logprobs")),
        extra_body=_checked_fields(options.get("extra_body", "{}")),
    )


def _checked_url(text: str) -> str:
    if not text:
        raise SubjectError("openai: needs the address of a server", hint=f"write {FORM}")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises where it is no number
    except ValueError:
        usable = False
    if not usable:
        raise SubjectError(
            f"base_url {text!r} is not the address of a server",
            hint="write it like http://localhost:8000/v1",
        )
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: it may hold a secret.
        raise SubjectError(
            "base_url holds a user, a query or a fragment",
            hint=f"give the address alone; keys come from {DEFAULT_KEY}, key_env or key_file",
        )
    return text.rstrip("/")


def _checked_concurrency(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_CONCURRENT:
        raise SubjectError(
            f"concurrency {text!r} is not a number of requests",
            hint=f"give a whole number from 1 to {MOST_CONCURRENT}",
        )
    return int(text)


def _checked_logprobs(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > _MOST_LOGPROBS:
        raise SubjectError(
            f"top_logprobs {text!r} is not a number of tokens",
            hint=f"give a whole number from 0 (none) to {_MOST_LOGPROBS}",
        )
    return int(text)


def _checked_fields(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        canonical_json(found)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SubjectError(
            f"extra_body {text!r} is not a JSON object that can be sent",
            hint='write it like {"min_p":0,"top_k":0}; NaN, infinities, whole numbers beyond 2**53 '
            "and halves of surrogate pairs have no one form in JSON",
        )
    if {name.lower() for name in found} & {*_SECRET}:
        # Not shown: it is written into plans and logs like all of a request.
        raise SubjectError(
            "extra_body holds what may be a key",
            hint=f"keys come from {DEFAULT_KEY}, key_env or key_file",
        )
    planned = sorted({*found} & {*_OWN})
    if planned:
        raise SubjectError(
            f"extra_body names {planned[0]}, which the plan decides",
            hint="leave it out; the options of the command set it",
        )
    return found


def _file_key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SubjectError(
            f"the key file {path} cannot be read: {reason}", hint="name a file with the key in it"
        ) from None  # a decoding error would show a part of the file
    if not key:
        raise SubjectError(f"the key file {path} is empty", hint="write the key into it")
    return key
