"""Runs inside another tool's own Python: loads that tool once, then compares pair after pair.

Started by `auditor.controls.comparison.worker` as ``python -I peer_process.py TOOL``. Nothing of
`auditor` is imported here, because the tool's environment need not have it. One JSON object a
line on stdin asks, one a line on stdout answers; what the tool itself prints goes to stderr.

Each function calls what the tool's own command line calls, with that command's defaults, and hands
back the numbers and words it got, unread. `auditor.controls.comparison.verdicts` reads them.
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Request = dict[str, Any]


def modeldna(request: Request) -> Any:
    """``modeldna compare SUSPECT REFERENCE --json`` (modeldna/cli.py `compare`)."""
    scan = importlib.import_module("modeldna.scan")
    verdict = scan.compare_pair(request["suspect"], request["reference"], mode="fast")[3]
    return verdict.to_dict()


def weightscope(request: Request) -> Any:
    """``weightscope lineage SUSPECT REFERENCE`` and ``weightscope diff REFERENCE SUSPECT``.

    Both commands print prose around the same difference of the two models.
    """
    tool = importlib.import_module("weightscope")
    difference = tool.diff_models(request["reference"], request["suspect"])
    lineage = tool.LineageCandidate.from_diff(request["reference"], difference)
    inference = tool.infer(difference)
    deltas = sorted(
        float(tensor.max_delta)
        for tensor in difference.tensors
        if tensor.n_params > 0 and tensor.max_delta != float("inf")
    )
    return {
        "lineage": {"verdict": lineage.verdict, "sparsity": float(lineage.sparsity)},
        "diff": {
            "label": inference.label,
            "confidence": inference.confidence,
            "headline": inference.headline,
            # The quantity that the label turns on, as `infer` computes it.
            "median_max_delta": deltas[len(deltas) // 2] if deltas else None,
        },
    }


def provenancekit(request: Request) -> Any:
    """``provenancekit compare SUSPECT REFERENCE --json`` (provenancekit/cli.py `_run_compare`)."""
    scanner = _provenance_scanner()
    result = scanner.compare(request["suspect"], request["reference"]).model_dump()
    return {name: result[name] for name in ("signals", "scores", "interpretation")}


def modelaudit(request: Request) -> Any:
    """``knowlyr-modelaudit audit --teacher REFERENCE --student SUSPECT``, or its REEF method.

    ``audit`` asks the chat server at ``request["api_base"]``. The white-box method is not on the
    command line; it is called through the engine that the command line calls.
    """
    ask = {"prompts": _audit_prompts, "reef": _audit_reef, "audit": _audit}
    return ask[request["question"]](request)


def _audit_prompts(request: Request) -> list[str]:
    probes = importlib.import_module("modelaudit.probes")
    config = importlib.import_module("modelaudit.config").AuditConfig()
    return [probe.prompt for probe in probes.get_probes(count=config.num_probes)]


def _audit_reef(request: Request) -> Any:
    found = _audit_engine().compare(request["reference"], request["suspect"], method="reef")
    return {"method": "reef", **_comparison(found)}


def _audit(request: Request) -> Any:
    found = _audit_engine().audit(
        request["reference"], request["suspect"], provider="custom", api_base=request["api_base"]
    )
    methods = {one.method: _comparison(one) for one in found.comparisons}
    return {"verdict": found.verdict, "confidence": found.confidence, "methods": methods}


def _comparison(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("similarity", "is_derived", "threshold")}


_kept: dict[str, Any] = {}
"""What is built once a process, so that the tool's own cache spares it the reference."""


def _audit_engine() -> Any:
    if "engine" not in _kept:
        config = importlib.import_module("modelaudit.config").AuditConfig
        engine = importlib.import_module("modelaudit.engine").AuditEngine
        _kept["engine"] = engine(config(provider="custom", cache_dir=str(Path.cwd() / "cache")))
    return _kept["engine"]


def _provenance_scanner() -> Any:
    if "scanner" not in _kept:
        cache_dir = Path.cwd() / "cache"
        settings = importlib.import_module("provenancekit.config.settings").Settings(
            cache_dir=cache_dir
        )
        cache = importlib.import_module("provenancekit.services.cache").CacheService(cache_dir)
        scanner = importlib.import_module("provenancekit.core.scanner").ModelProvenanceScanner
        _kept["scanner"] = scanner(settings=settings, cache=cache)
    return _kept["scanner"]


TOOLS: dict[str, tuple[str, tuple[str, ...], Callable[[Request], Any]]] = {
    "modeldna": ("modeldna", ("modeldna.scan",), modeldna),
    "weightscope": ("weightscope", (), weightscope),
    "provenancekit": (
        "cisco-ai-provenance-kit",
        ("provenancekit.core.scanner", "transformers.models.auto.modeling_auto"),
        provenancekit,
    ),
    "modelaudit": (
        "knowlyr-modelaudit",
        ("modelaudit.engine", "transformers.models.auto.modeling_auto"),
        modelaudit,
    ),
}
"""Name of the module: its distribution, what it would load with the first pair, the comparison."""


def answer(compare: Callable[[Request], Any], request: Request) -> dict[str, Any]:
    """Return the tool's result and the processor seconds it took, or what it raised."""
    start = time.process_time()
    try:
        result = compare(request)
    # Whatever the other tool raises is its result on this pair; SystemExit is how some give up.
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return {"result": result, "seconds": time.process_time() - start}


def serve(tool: str) -> None:
    """Say what is installed, then answer each line of stdin until it ends."""
    # The tool may print; only our lines may reach the pipe that the caller reads.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    distribution, parts, compare = TOOLS[tool]

    def reply(value: dict[str, Any]) -> None:
        replies.write(json.dumps(value, default=float) + "\n")
        replies.flush()

    try:
        for name in (tool, *parts):
            importlib.import_module(name)
        version = importlib.metadata.version(distribution)
    except ImportError as error:
        reply({"missing": str(error)})
        return
    reply({"version": version, "python": sys.version.split()[0]})
    for line in sys.stdin:
        reply(answer(compare, json.loads(line)))


if __name__ == "__main__":
    serve(sys.argv[1])
