"""Which format a file of recorded outputs has: by its content, or as told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import RecordsError
from auditor.models.records.inspect_log import read_eval, read_json_log
from auditor.models.records.lines import check_file, json_lines, unreadable
from auditor.models.records.lm_eval import read_lm_eval
from auditor.models.records.openai_batch import read_batch
from auditor.models.records.parquet import read_parquet
from auditor.models.records.recording import Recording
from auditor.models.records.reply import LINE_HINT, RecordedReply, reply_from_json

FORMATS = ("records", "inspect", "lm-eval", "openai-batch", "parquet")
OPTIONS = ("format", "prompts", "prompt", "reply")
"""What a ``records:`` specifier may say after ``?``."""
_OF_FORMAT = {"prompts": "openai-batch", "prompt": "parquet", "reply": "parquet"}
_ZIP, _PARQUET = b"PK", b"PAR1"
_HEAD = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file of known format."""

    format: str
    told: bool
    """Whether the format was named, not recognised."""
    recording: Recording


def open_recording(path: Path, options: Mapping[str, str] | None = None) -> Opened:
    """Return the replies of a file, which are read when asked for.

    Args:
        path: the file.
        options: `OPTIONS`: its format (recognised by content where it is not named), the input
            file of a batch, the columns of a parquet file.

    Raises:
        RecordsError: the format is unknown or not recognised, an option belongs to another one, or
            the file cannot be read as what it is.
        MissingExtraError: the extra ``records`` is not installed and needed.
    """
    chosen = dict(options or {})
    told = chosen.get("format")
    if told is not None and told not in FORMATS:
        raise RecordsError(f"unknown format {told!r}", hint=f"formats: {', '.join(FORMATS)}")
    check_file(path)
    found = told or detected_format(path)
    for option, owner in _OF_FORMAT.items():
        if option in chosen and found != owner:
            raise RecordsError(
                f"{path} is read as {found}, which has no option {option!r}",
                hint=f"{option}= belongs to format={owner}",
            )
    recording = _READERS[found](path, chosen)
    return Opened(format=found, told=told is not None, recording=recording)


def detected_format(path: Path) -> str:
    """Return the format of a file, by its first bytes or its first line.

    Raises:
        RecordsError: it cannot be read, or is of no format known here.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    if head.startswith(_ZIP):
        return "inspect"
    if head.startswith(_PARQUET):
        return "parquet"
    if _first_line(head) == b"{":
        return _format_of_document(path, head)
    first = next(json_lines(path, LINE_HINT), None)
    return "records" if first is None else _format_of_line(*first)


def _format_of_line(where: str, line: Mapping[str, object]) -> str:
    keys = set(line)
    if {"doc_id", "resps"} & keys and "arguments" in keys:
        return "lm-eval"
    if "custom_id" in keys and {"response", "error"} & keys:
        return "openai-batch"
    wrong = {
        "a batch's input file, which holds no reply": {"custom_id", "body"} <= keys,
        "a results file of lm_eval, which holds no reply": {"results", "configs"} <= keys,
    }
    for what, is_it in wrong.items():
        if is_it:
            raise RecordsError(
                f"{where}: {what}",
                hint="give the batch's output (records:OUTPUT.jsonl?prompts=INPUT.jsonl), or the "
                "samples file that lm_eval --log_samples wrote",
            )
    return "inspect" if {"eval", "version"} <= keys else "records"


def _first_line(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0].strip()


def _format_of_document(path: Path, head: bytes) -> str:
    """Return the format of a file that is one JSON object over many lines."""
    if b'"eval"' in head and b'"version"' in head:
        return "inspect"
    raise RecordsError(
        f"{path} is one JSON document over many lines, and no log of inspect_ai",
        hint="give one reply a line; of lm_eval the samples_*.jsonl, not the results_*.json",
    )


def _read_records(path: Path) -> Iterator[RecordedReply]:
    for where, entry in json_lines(path, LINE_HINT):
        yield reply_from_json(entry, where)


def _inspect(path: Path, options: Mapping[str, str]) -> Recording:
    del options
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == _ZIP
    except OSError as error:
        raise unreadable(path, error) from error
    return read_eval(path) if zipped else read_json_log(path)


def _batch(path: Path, options: Mapping[str, str]) -> Recording:
    prompts = options.get("prompts")
    if prompts is not None:
        check_file(Path(prompts))
    return read_batch(path, None if prompts is None else Path(prompts))


_READERS: dict[str, Callable[[Path, Mapping[str, str]], Recording]] = {
    "records": lambda path, _: Recording(entries=_read_records(path)),
    "inspect": _inspect,
    "lm-eval": lambda path, _: read_lm_eval(path),
    "openai-batch": _batch,
    "parquet": lambda path, options: read_parquet(
        path, options.get("prompt"), options.get("reply")
    ),
}
