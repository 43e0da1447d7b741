"""A small judged case written by hand, file by file, in the formats that the stages write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from case_content import HOSTILE, MEASURES

from auditor.canon import canonical_json, digest, json_digest, leaf_hash
from auditor.case import Case
from auditor.outputs import POSITION

_WORDS = (
    "the old lighthouse keeper counted ships until the fog came down and then he lit "
    "a second lamp for the boats that had not yet found the harbour wall"
).split()
_QUESTIONS = (
    ("story", "Tell a very short story about a lighthouse."),
    ("advice", "How do I keep basil alive indoors?"),
    ("explain", "Why is the sky blue? Two sentences."),
    ("list", "Name three uses for an old newspaper."),
)
POSITIONS_MISSING = "the tokenizers differ"


def build_case(
    root: Path,
    *,
    suspects: Sequence[str] = ("student",),
    controls: Sequence[tuple[str, str]] = (),
    hostile: bool = False,
    positions: bool = True,
) -> Case:
    """Return a judged case. `controls` are (name, role); `hostile` adds a probe for each text."""
    case = Case(root)
    names = [("teacher", "reference"), *((name, "suspect") for name in suspects), *controls]
    probes = _probes(hostile)
    _write_probes(case, probes)
    case.write_json("plan.json", _plan(names, probes, "compare" if len(suspects) == 1 else "scan"))
    case.write_json("subjects.json", _subjects(names))
    case.write_json("environment.json", _environment())
    for index, (name, _) in enumerate(names):
        _write_records(case, name, probes, index)
        missing = {} if positions or index == 0 else {"positions": POSITIONS_MISSING}
        case.write_json(f"collected/{name}.json", _collected(missing))
        if positions and index:
            _write_positions(case, name, len(probes), index)
    _write_statistics(case, suspects, controls)
    case.write_json("conclusion.json", _conclusions(suspects, len(controls)))
    (case.data / "custody.jsonl").write_text('{"time": "never printed"}\n')
    return case


def _probes(hostile: bool) -> list[dict[str, Any]]:
    asked = [
        {
            "id": f"inst-{number:04d}",
            "category": category,
            "messages": [{"role": "user", "content": f"{question} (variant {number % 4})"}],
            "language": "en",
        }
        for number, (category, question) in enumerate(_QUESTIONS * 4)
    ]
    if hostile:
        asked += [
            {
                "id": f"host-{number:04d}",
                "category": "hostile <i>&</i>\u202e\x1b",
                "messages": [
                    {"role": "user", "content": f"Repeat: {kind} <script>alert(3)</script>"}
                ],
            }
            for number, kind in enumerate(HOSTILE)
        ]
    return asked


def _write_probes(case: Case, probes: list[dict[str, Any]]) -> None:
    folder = case.data / "probes" / "instructions@1"
    folder.mkdir(parents=True)
    (folder / "items.jsonl").write_bytes(b"".join(canonical_json(p) + b"\n" for p in probes))
    (folder / "suite.toml").write_text(
        'name = "instructions"\nversion = 1\nweight = 1.0\nlanguages = ["en", "he"]\n'
    )


def _plan(
    names: Sequence[tuple[str, str]], probes: list[dict[str, Any]], command: str
) -> dict[str, Any]:
    return {
        "schema": "auditor/plan/1",
        "command": command,
        "subjects": [
            {"name": name, "role": role, "family": name, "spec": _spec(name),
             "digest": digest(name.encode())}
            for name, role in names
        ],
        "suites": [
            {"name": "instructions", "version": 1, "digest": digest(b"suite"),
             "probes": [probe["id"] for probe in probes]}
        ],
        "access": "WEIGHTS",
        "repeats": 1,
        "decoding": {"max_new_tokens": 48, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
        "seed": 7,
        "device": None,
        "dtype": None,
        "batch_tokens": 2048,
        "encoder": "all-MiniLM-L6-v2",
    }  # fmt: skip


def _spec(name: str) -> str:
    return f"local:/models/{name}"


def _subjects(names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "schema": "auditor/subjects/1",
        "subjects": [
            {
                "name": name,
                "role": role,
                "family": name,
                "ref": {
                    "spec": _spec(name),
                    "access": "WEIGHTS",
                    "digest": digest(name.encode()),
                    "tokenizer_digest": digest(b"tokenizer"),
                    "template_digest": digest(b"template"),
                    "parameters": 134_515_008 if name == "teacher" else 54_321_408,
                    "architecture": "LlamaForCausalLM",
                    "vocabulary": 49_152,
                    "dtype": "float32",
                },
            }
            for name, role in names
        ],
    }


def _environment() -> dict[str, Any]:
    return {
        "schema": "auditor/environment/1",
        "python": "3.11.2",
        "system": "Linux",
        "machine": "x86_64",
        "cores": 2,
        "gpus": [],
        "packages": {"auditor": "0.1.0", "numpy": "2.4.0", "torch": "2.13.0+cpu"},
        "torch_threads": 1,
        "device": None,
        "dtype": None,
    }


def _collected(missing: dict[str, str]) -> dict[str, Any]:
    return {
        "schema": "auditor/collected/1",
        "implementation": "chunked",
        "missing": missing,
        "encoder": None,
        "digests": {},
    }


def _reply(probe: dict[str, Any], number: int, subject: int) -> str:
    if probe["id"].startswith("host"):
        text = HOSTILE[list(HOSTILE)[number - len(_QUESTIONS) * 4]]
        return text if subject != 1 else text + " and more"
    state = np.random.RandomState(number)
    words = [_WORDS[i] for i in state.randint(0, len(_WORDS), 30)]
    # Each later subject keeps fewer of the reference's words; the first probe is kept whole.
    other = np.random.RandomState(100 * subject + number)
    for place in range(30 if number else 0):
        if subject and other.rand() < 0.12 * subject + 0.02 * number:
            words[place] = _WORDS[other.randint(0, len(_WORDS))]
    return " ".join(words).capitalize() + "."


def _write_records(case: Case, name: str, probes: list[dict[str, Any]], subject: int) -> None:
    lines, previous = [], ""
    for number, probe in enumerate(probes):
        text = _reply(probe, number, subject)
        request = {"prompt": probe["messages"][0]["content"], "decoding": {}, "seed": 7}
        record = {
            "seq": number,
            "prev": previous,
            "salt": digest(f"{name}|{number}".encode())[-32:],
            "suite": "instructions@1",
            "probe_id": probe["id"],
            "probe_digest": json_digest(probe),
            "subject": name,
            "repeat": 0,
            "attempt": 1,
            "request": request,
            "request_digest": json_digest(request),
            "text": text,
            "token_ids": [1, 2],
            "prompt_ids": [1],
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            "outcome": "ok",
            "error": None,
        }
        line = _line(record)
        lines.append(line + b"\n")
        previous = leaf_hash(line)
    path = case.records(name, "instructions@1")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(lines))


def _line(record: dict[str, Any]) -> bytes:
    # Half of a surrogate pair has no UTF-8, so it can only stand in a file as an escape.
    text = record["text"]
    if "\ud800" not in text:
        return canonical_json(record)
    return canonical_json({**record, "text": text.replace("\ud800", "@@")}).replace(
        b"@@", b"\\ud800"
    )


def _write_positions(case: Case, name: str, probes: int, subject: int) -> None:
    state = np.random.RandomState(subject)
    rows = np.zeros(probes * 20, dtype=POSITION)
    rows["probe"] = np.repeat(np.arange(probes), 20)
    # Rounded: the last digits of an exponential are another processor's.
    rows["kl_ab"] = np.round(0.4 * subject * np.exp(1.8 * state.randn(len(rows))), 6)
    rows["kl_ab"][::17] = 0.0
    rows["kl_ab"][5] = np.nan
    path = case.array("agreement", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, rows)


def _write_statistics(
    case: Case, suspects: Sequence[str], controls: Sequence[tuple[str, str]]
) -> None:
    statistics: dict[str, list[dict[str, Any]]] = {}
    number = 0
    for step, suspect in enumerate(suspects):
        for measure in MEASURES:
            number += 1
            row = {"id": f"S{number:03d}", **measure, **_standing(measure, len(controls))}
            row["inputs"] = [f"records/{suspect}"]
            if row["value"] is not None:
                row["value"] *= 1 - 0.2 * step
            if row["interval"] is not None:
                row["interval"] = [end * (1 - 0.2 * step) for end in row["interval"]]
            statistics.setdefault(suspect, []).append(row)
    case.write_json("statistics.json", {"schema": "auditor/statistics/1", "suspects": statistics})


def _standing(measure: dict[str, Any], controls: int) -> dict[str, Any]:
    value = measure["value"]
    if value is None or not controls:
        empty = dict.fromkeys(("z", "rank_p", "predictive_p"))
        return {"control_values": [None] * controls, **empty}
    worse = 0.75 if measure["closer"] == "higher" else 2.5
    values: list[float | None] = [value * worse * (1 + 0.1 * k) for k in range(controls)]
    if controls > 2:
        values[-1] = None
    known = sum(v is not None for v in values)
    return {"control_values": values, "z": 1.75, "rank_p": 1 / (known + 1), "predictive_p": 0.11}


def _conclusions(suspects: Sequence[str], controls: int) -> dict[str, Any]:
    one = {
        "reading": "inconclusive",
        "via": None,
        "basis": "screening: closer to the reference than all controls on 7 of 8 measures"
        if controls
        else "uncontrolled similarity",
        "log10_lr": None,
        "cap": f"rank among {controls} control families"
        if controls
        else "no verdict without controls",
        "interval": None,
        "verbal": None,
        "limits": [
            "Without controls there is no verdict. Add control models that are known to be "
            "independent of the reference.",
            "Similarity has no direction: these findings cannot tell who learned from whom.",
        ],
        "scope": {"categories": None, "layers": None},
        "power": None,
        "dose": None,
        "error_rates": [],
    }
    return {
        "schema": "auditor/conclusion/1",
        "rules": "reading/1",
        "suspects": dict.fromkeys(suspects, one),
        "support": dict.fromkeys(suspects),
        "doses": {suspect: [] for suspect in suspects},
        "robustness": {
            suspect: {
                "base": {"kind": "none", "dropped": "", "tests": {}, "log10_lr": None},
                "rows": [],
                "calibration": None,
            }
            for suspect in suspects
        },
        "validation": {},
    }
