"""The real tools on real folders; each is skipped where it is not installed (AUDITOR_PEERS)."""

import json
import os
import subprocess

import pytest
from comparison_world import installed_python, llama_folder

from auditor.controls.comparison.tools import TOOLS, ToolOpponent

ACCUSED_OF_NEVER_TRAINED_MODELS = {
    # Two models of one configuration that were never trained.
    "modeldna": False,
    "weightscope-lineage": False,
    "weightscope-diff": True,
    "provenance-kit": True,
    "provenance-kit-identity": False,
    "modelaudit-reef": True,
    "modelaudit-audit": False,
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("tools")
    # At the usual scale of initialisation, 0.02: one of the tools looks at absolute changes.
    return {
        name: llama_folder(root / name, seed, width=32, scale=0.2)
        for name, seed in (("reference", 1), ("copy", 1), ("other", 2))
    }


def python_of(module):
    found = installed_python(module)
    if found is None:
        pytest.skip(f"{module} is not installed: name its Python in AUDITOR_PEERS")
    return found


@pytest.mark.parametrize("name", TOOLS)
def test_an_installed_tool_tells_a_copy_from_a_model_of_another_seed(name, pair):
    opponent = ToolOpponent(name, python=python_of(TOOLS[name].module), seconds=200)
    try:
        copy = opponent.compare(pair["copy"], pair["reference"])
        other = opponent.compare(pair["other"], pair["reference"])
    finally:
        opponent.close()
    for same, different in zip(copy, other, strict=True):
        assert same.failure is None or "less than or equal to 1" in same.failure
        assert different.failure is None
        if same.failure is None:
            assert same.score >= different.score
            assert same.accuses_any
        assert different.accuses_any is ACCUSED_OF_NEVER_TRAINED_MODELS[different.reading]


def run_command(python, arguments, home):
    """Run a tool's own command line without network; return what it prints."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HOME": str(home)}
    done = subprocess.run(
        [python.with_name(arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        env={**os.environ, **offline},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_modeldna_answers_as_its_own_command_line_does(pair, tmp_path):
    python = python_of("modeldna")
    arguments = ["modeldna", "compare", str(pair["other"]), str(pair["reference"]), "--json"]
    printed = run_command(python, arguments, tmp_path)["verdict"]
    opponent = ToolOpponent("modeldna", python=python)
    found = opponent.compare(pair["other"], pair["reference"])[0]
    opponent.close()
    assert (found.verdict, found.score) == (printed["verdict"], printed["probability"])


def test_the_provenance_kit_answers_as_its_own_command_line_does(pair, tmp_path):
    python = python_of("provenancekit")
    arguments = ["provenancekit", "compare", str(pair["other"]), str(pair["reference"]), "--json"]
    printed = run_command(python, arguments, tmp_path)["scores"]
    opponent = ToolOpponent("provenance-kit", python=python, seconds=200)
    gate, identity = opponent.compare(pair["other"], pair["reference"])
    opponent.close()
    assert (gate.verdict, gate.score) == (printed["provenance_decision"], printed["pipeline_score"])
    assert identity.score == printed["identity_score"]
