"""Specifiers: the short texts that name a subject, and what they open.

``scheme:rest[@revision][?option=value&...]``. A bare path is a folder (``local:``), a GGUF file or
a file of recorded outputs; a bare ``org/name`` is a hub id. A scheme's own word wins over a file of
that name: write ``./smollm2`` for a folder called so.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from auditor.canon import canonical_json
from auditor.errors import SubjectError
from auditor.models.placement import OPTIONS as PLACES
from auditor.models.placement import placement_options
from auditor.types import ModelRef

if TYPE_CHECKING:
    from auditor.models.base import Model

SCHEMES = ("local", "gguf", "hf", "smollm2", "tiny", "records", "openai")
_PATHS = ("local", "gguf", "records")
_SPREAD = ("local", "hf", "tiny")
"""Schemes of folders, whose modules can be spread over devices."""
_WHOLE = ("gguf:", "smollm2?")
_RECORDS = (".jsonl", ".eval", ".json", ".parquet")
"""How files of recorded outputs end; ``records:FILE`` takes any."""
_JSON = '{":,}'
"""Left readable in a specifier."""
_KEYS = ("key_env", "key_file", *PLACES)
_LATER = {
    "case": "subjects of another case are not available yet",
    "fingerprint": "fingerprints are compared with each other: auditor fingerprint compare A B",
}
_FORMS = (
    "local:DIR, gguf:FILE, hf:org/name[@revision], smollm2, tiny:NAME, records:FILE or "
    "openai:MODEL?base_url=URL"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SCHEME = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Specifier:
    """A parsed specifier. Paths in `rest` are absolute."""

    scheme: str
    rest: str = ""
    revision: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def canonical(self) -> str:
        """The form that enters files; it parses to an equal specifier.

        Of a model on a server: its name, address, demanded log-probabilities and what is added to
        every request, not how many requests or whose key to use. Of a folder: not on which devices
        it is spread.
        """
        if self.scheme == "openai":
            base = f"openai:{self.rest}?base_url={quote(self.options['base_url'], safe='/:')}"
            demanded, extra = (self.options.get(n) for n in ("top_logprobs", "extra_body"))
            if demanded is not None:
                base += f"&top_logprobs={int(demanded)}"
            if extra is None:
                return base
            fields = canonical_json(json.loads(extra)).decode()
            return f"{base}&extra_body={quote(fields, safe=_JSON)}"
        text = f"{self.scheme}:{self.rest}" if self.rest else self.scheme
        if self.scheme == "records" and self.options:
            return f"{text}?{urlencode(sorted(self.options.items()), safe='/:', quote_via=quote)}"
        return f"{text}@{self.revision}" if self.revision else text

    @property
    def planned(self) -> str:
        """The canonical form, and how it is reached: what a plan keeps.

        Of a model on a server where its key is: else a later stage would send the key of one server
        to another. Of a folder on which devices it is spread.
        """
        places = {name: self.options[name] for name in _KEYS if name in self.options}
        text = self.canonical
        for name, value in places.items():
            safe = "/:," if name in PLACES else "/"
            text += f"{'&' if '?' in text else '?'}{name}={quote(value, safe=safe)}"
        return text

    @property
    def path(self) -> Path:
        """The file or folder named by a ``local``, ``gguf`` or ``records`` specifier."""
        return Path(self.rest)


def parse(spec: str) -> Specifier:
    """Return the parts of a specifier; of bare texts, the file system decides what they mean.

    Raises:
        SubjectError: empty, of an unknown scheme, of one not available yet, or a bare text that
            is neither an existing path nor a hub id.
    """
    text = spec.strip()
    if not text:
        raise SubjectError("an empty text names no model", hint=f"give {_FORMS}")
    scheme, colon, rest = text.partition(":")
    if text.startswith(_WHOLE) and "?device_map=" in text:
        raise SubjectError(
            f"{text}: device_map spreads the modules of a folder; a GGUF file is loaded whole",
            hint="leave device_map out, or convert the model to a transformers folder",
        )
    if scheme in _LATER and colon:
        raise SubjectError(f"{text}: {_LATER[scheme]}", hint=f"give {_FORMS}")
    if scheme in SCHEMES and (colon or scheme == "smollm2"):
        return _of_scheme(text, scheme, rest)
    if _exists(text):
        return of_path(Path(text).expanduser())
    if colon and _SCHEME.fullmatch(scheme):
        raise SubjectError(f"unknown scheme {scheme!r} in {text!r}", hint=f"give {_FORMS}")
    return _of_missing(text)


def beside(spec: str, folder: Path) -> str:
    """Return a specifier written in a file of `folder`: its relative path starts there."""
    scheme, colon, rest = spec.partition(":")
    if scheme == "records" and colon:
        parsed = _of_records(rest, folder)
        return parsed.canonical
    if scheme in _SPREAD and colon and "device_map=" in rest:
        return _of_spread(scheme, rest, folder).planned
    if colon and scheme in _PATHS:
        return f"{scheme}:{_resolved(folder, rest)}"
    # A scheme's own word wins over a file of that name, as everywhere else.
    if not colon and spec != "smollm2" and _exists(str(folder / spec)):
        return str(folder / spec)
    return spec


def _of_scheme(text: str, scheme: str, rest: str) -> Specifier:
    if scheme == "smollm2":
        if rest:
            raise SubjectError(f"smollm2 takes nothing after its name, got {text!r}")
        return Specifier(scheme=scheme)
    if not rest:
        raise SubjectError(f"{text!r} names nothing after {scheme}:", hint=f"give {_FORMS}")
    if scheme == "records":
        return _of_records(rest, Path())
    if scheme in _SPREAD:
        return _of_spread(scheme, rest, Path())
    if scheme in _PATHS:
        return Specifier(scheme=scheme, rest=_resolved(Path(), rest))
    return _of_server(rest)


def _of_spread(scheme: str, text: str, folder: Path) -> Specifier:
    """Return the parts of a folder's specifier, ``rest[?device_map=...]``."""
    whole = scheme == "local" and _exists(str(folder / text))
    rest, mark, query = (text, "", "") if whole else text.partition("?")
    options = placement_options(query, folder) if mark else {}
    if scheme == "local":
        return Specifier(scheme=scheme, rest=_resolved(folder, rest), options=options)
    if scheme == "tiny":
        return Specifier(scheme=scheme, rest=rest, options=options)
    name, _, revision = rest.partition("@")
    if not _HUB_ID.fullmatch(name):
        raise SubjectError(f"{name!r} is not a hub id", hint="write hf:org/name or hf:org/name@rev")
    return Specifier(scheme=scheme, rest=name, revision=revision or None, options=options)


def _of_records(text: str, folder: Path) -> Specifier:
    """Return the parts of ``FILE[?option=value&...]``; a file of that whole name wins."""
    from auditor.models.records.opening import OPTIONS

    file, _, query = (text, "", "") if _exists(str(folder / text)) else text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown or (query and not options):
        raise SubjectError(
            f"records: has no option {(unknown or [query])[0]!r}",
            hint=f"options: {', '.join(OPTIONS)}, as in records:FILE?format=inspect",
        )
    if "prompts" in options:
        options["prompts"] = _resolved(folder, options["prompts"])
    return Specifier(scheme="records", rest=_resolved(folder, file), options=options)


def _resolved(folder: Path, path: str) -> str:
    try:
        found = str((folder / Path(path).expanduser()).resolve())
        found.encode()  # it enters files, which are UTF-8
        Path(found).exists()  # refused where it is too long, or leads where none may look
    except (OSError, ValueError, RuntimeError) as error:  # NUL, links in a circle, unknown ~user
        raise SubjectError(
            f"{path!r} is no path that can be used: {error}",
            hint="give a path in UTF-8, without a NUL byte, links in a circle or an unknown ~user",
        ) from error
    return found


def _of_server(text: str) -> Specifier:
    from auditor.models.server_address import server_address

    model, _, query = text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    address = server_address(model, options)
    return Specifier(scheme="openai", rest=model, options={**options, "base_url": address.base_url})


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        return False


def of_path(path: Path) -> Specifier:
    """Return the specifier of a folder or a file, whatever its name would mean as a text.

    Raises:
        SubjectError: it is no file of a model, or its name cannot be written as a specifier.
    """
    rest = _resolved(Path(), str(path))
    if rest != rest.rstrip():
        raise SubjectError(
            f"{rest!r} ends with a space, which no specifier keeps", hint="rename it"
        )
    schemes = {".gguf": "gguf", **dict.fromkeys(_RECORDS, "records")}
    scheme = schemes.get(path.suffix.lower())
    # A link to nothing may have led to a folder.
    if path.is_dir() or (scheme is None and not path.exists()):
        return Specifier(scheme="local", rest=rest)
    if scheme is None:
        raise SubjectError(
            f"{path} is a file, but neither .gguf nor one of {', '.join(_RECORDS)}",
            hint="name the folder that holds the model, or write the scheme: gguf:FILE, "
            "records:FILE",
        )
    return Specifier(scheme=scheme, rest=rest)


def _of_missing(text: str) -> Specifier:
    looks_like_path = text.startswith((".", "/", "~")) or text.endswith((".gguf", *_RECORDS))
    place, mark, _ = text.partition("?")
    if mark and _exists(place) and Path(place).is_dir():
        return _of_spread("local", text, Path())
    if not looks_like_path and _HUB_ID.fullmatch(place.partition("@")[0]):
        return _of_spread("hf", text, Path())
    raise SubjectError(f"{text} does not exist", hint=f"give an existing path, or {_FORMS}")


def open_model(
    spec: str, *, device: str | None = None, dtype: str | None = None, batch_tokens: int = 2048
) -> "Model":
    """Return the model that `spec` names, ready to use.

    Args:
        spec: A specifier.
        device: ``cpu``, ``cuda``, ``cuda:1``, ... or ``auto`` to spread a large model over the
            devices; None takes a GPU where there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``; None takes bfloat16 on a GPU, float32
            on a CPU.
        batch_tokens: Padded tokens in one forward pass, at most (a longer sequence goes alone).

    Raises:
        SubjectError: the model cannot be found, read or understood.
        MissingExtraError: the package that carries or reads it is not installed.
        RecordsError: a file of recorded outputs is malformed.
    """
    parsed = parse(spec)
    if parsed.scheme == "records":
        from auditor.models.recorded import open_recorded

        return open_recorded(parsed)
    if parsed.scheme == "openai":
        from auditor.models.openai_server import open_server

        return open_server(parsed)
    from auditor.models.transformers_model import open_transformers

    return open_transformers(parsed, device=device, dtype=dtype, batch_tokens=batch_tokens)


def identify(spec: str) -> ModelRef:
    """Return what `spec` names, with its digests; reads the files, loads no weights.

    Raises:
        SubjectError, MissingExtraError, RecordsError: as `open_model`.
    """
    from auditor.models.digest import reference

    return reference(parse(spec))
