"""The replies of one subject of a case as normalised record lines, for ``records:`` and others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json
from auditor.case import Case, atomic_stream
from auditor.collect.conditions import conditioned, system_of
from auditor.errors import InputError, MissingExtraError
from auditor.models.records.reply import BESIDE
from auditor.stored import iterate_records, planned_probes, probe_as_json
from auditor.types import Probe

_ROWS = 1024
_BATCH_BYTES = 1 << 23
"""Rows are written together up to about so many bytes, or `_ROWS`: log-probabilities are long."""


def exported_lines(case: Case, subject: str | None = None) -> Iterator[bytes]:
    """Yield the lines (canonical JSON, without line breaks) of a subject, in plan order.

    A line holds what was asked, with the system message of the plan, the reply, and how it was made
    as far as that is known: of recorded outputs what their file said, of a model that was run here
    its specifier and the plan's decoding. Of a withheld record it holds the place alone, as one
    without a reply.

    Args:
        case: collected; sealed or not.
        subject: its name; None for the one suspect.

    Raises:
        InputError: there is no such subject, or several suspects and none was named.
        CaseError: it was not collected, or a record was changed.
    """
    for row in exported_rows(case, subject):
        yield canonical_json(row)


def exported_rows(case: Case, subject: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the objects of `exported_lines`."""
    name = _chosen(case, subject)
    refs = {one["name"]: one["ref"] for one in case.read_json("subjects.json")["subjects"]}
    plan = case.read_json("plan.json")
    probes = [conditioned(probe, system_of(plan)) for probe in planned_probes(case)]
    repeats = plan["repeats"]
    for number, record in enumerate(iterate_records(case, name)):
        yield _row(record, probes[number // repeats], refs[name]["spec"])


def write_jsonl(case: Case, subject: str | None, out: Path) -> int:
    """Write the lines to a new file; return how many.

    Raises:
        InputError, CaseError: as `exported_lines`.
        StorageError: the disk refused it.
    """
    count = 0
    with atomic_stream(out) as stream:
        for line in exported_lines(case, subject):
            stream.write(line + b"\n")
            count += 1
    return count


def write_parquet(case: Case, subject: str | None, out: Path) -> int:
    """Write the lines as rows of a new parquet file; return how many.

    ``messages`` are lists of structs; ``logprobs`` and ``decoding`` hold JSON.

    Raises:
        InputError, CaseError: as `exported_lines`.
        MissingExtraError: the extra ``records`` is not installed.
        StorageError: the disk refused it.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise MissingExtraError(
            "parquet files are written by pyarrow", hint="pip install 'auditor[records]'"
        ) from error
    schema = _schema()
    rows = (_flat(row) for row in exported_rows(case, subject))
    count = 0
    with atomic_stream(out) as stream, ParquetWriter(stream, schema) as writer:
        for batch in _batches(rows):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows that are written together: a reader unpacks what was written so at once."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if size >= _BATCH_BYTES or len(batch) >= _ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _chosen(case: Case, subject: str | None) -> str:
    subjects = case.read_json("plan.json")["subjects"]
    names = [one["name"] for one in subjects]
    suspects = [one["name"] for one in subjects if one["role"] == "suspect"]
    if subject is None and len(suspects) == 1:
        return str(suspects[0])
    if subject is None or subject not in names:
        said = "several suspects" if subject is None else f"no subject {subject!r}"
        raise InputError(f"the case has {said}", hint=f"give --subject: {', '.join(names)}")
    return subject


def _row(record: dict[str, Any], probe: Probe, spec: str) -> dict[str, Any]:
    if record["outcome"] == "withheld":
        place = {key: record[key] for key in ("probe_id", "repeat")}
        return {**place, "outcome": "error", "error": "withheld"}
    asked = probe_as_json(probe)
    beside = record.get("recorded")
    if beside is None:
        beside = {"model": spec, "decoding": record["request"]["decoding"]}
    row = {
        "probe_id": probe.id,
        "suite": record["suite"],
        "prompt": asked.get("text"),
        "messages": asked.get("messages"),
        **{key: record[key] for key in ("text", "repeat", "finish_reason", "outcome", "error")},
        **{key: beside.get(key) for key in BESIDE},
    }
    return {key: value for key, value in row.items() if value is not None}


def _schema() -> Any:
    import pyarrow

    words = ("text", "finish_reason", "outcome", "error", *BESIDE)
    turn = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    return pyarrow.schema(
        [
            *((name, pyarrow.string()) for name in ("probe_id", "suite", "prompt")),
            ("messages", pyarrow.list_(turn)),
            ("repeat", pyarrow.int64()),
            *((name, pyarrow.string()) for name in words),
        ]
    )


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = dict(row)
    for key in ("logprobs", "decoding"):
        if key in flat:
            flat[key] = json.dumps(flat[key])
    return flat
