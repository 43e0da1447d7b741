"""The recipes of the README that gate a release, parsed out of it and run."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from test_readme import ROOT, blocks

from auditor.cli.main import cli
from auditor.data import data_dir

TINY = data_dir("probes") / "packs" / "tiny"

pytestmark = pytest.mark.timeout(900)  # five processes that load torch, each an audit


def recipe(first_line: str) -> dict:
    (found,) = [text for text in blocks("yaml") if text.startswith(f"# {first_line}")]
    return yaml.safe_load(found)


def workflow_runs() -> list[str]:
    steps = recipe(".github/workflows/provenance.yml")["jobs"]["gate"]["steps"]
    return [step["run"] for step in steps if step.get("run", "").startswith("auditor ")]


def hook() -> dict:
    return recipe(".pre-commit-config.yaml")["repos"][0]["hooks"][0]


def parsed(line: str) -> click.Context:
    words = shlex.split(line.partition(" > ")[0] if line.endswith(".xml\n") else line)
    assert words[0] == "auditor"
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    return command.make_context(words[1], words[2:])


def test_the_commands_of_both_recipes_exist_and_gate():
    from auditor.cli.gate import parse_gate
    from auditor.measures import all_measures

    lines = [*workflow_runs(), hook()["entry"]]
    assert len(lines) == 3
    for line in lines:
        gate = parsed(line).params["fail_on"]
        assert parse_gate(gate, {one.name for one in all_measures()}).terms


def environment(**more: str) -> dict[str, str]:
    """Return an environment whose `auditor` is this tree's."""
    scripts = Path(sys.executable).parent
    given = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return given | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **more,
    }


def place(name: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TINY / name, folder)


@pytest.mark.parametrize(("model", "code"), [("teacher", 3), ("independent", 0)])
def test_the_workflow_stops_a_copy_and_lets_another_model_pass(tmp_path, model, code):
    place(model, tmp_path / "model")
    place("teacher", tmp_path / "reference")
    gate, report = workflow_runs()
    # A pack of this case's own controls takes training; two shipped models stand for it.
    gate = gate.replace("pack:controls", "tiny:sibling=sibling") + " --suite ood --probes 8"
    ran = subprocess.run(
        ["bash", "-ec", gate.replace("\n", " ")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == code, ran.stderr + ran.stdout
    written = subprocess.run(
        ["bash", "-ec", report.replace("\n", " ")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert written.returncode == 0, written.stderr
    assert ("<failure" in (tmp_path / "provenance.xml").read_text()) == (code == 3)


class Repository:
    """A scratch git repository with the hook of the README."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = environment(
            PRE_COMMIT_HOME=str(root.parent / "pre-commit-home"),
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_AUTHOR_NAME="a",
            GIT_AUTHOR_EMAIL="a@example.org",
            GIT_COMMITTER_NAME="a",
            GIT_COMMITTER_EMAIL="a@example.org",
        )
        root.mkdir()
        self.run("git", "init", "-q")
        config = yaml.safe_dump(recipe(".pre-commit-config.yaml"))
        (root / ".pre-commit-config.yaml").write_text(config)
        (root / ".gitignore").write_text("auditor-cases/\n")
        installed = self.run("pre-commit", "install")
        assert installed.returncode == 0, installed.stdout + installed.stderr

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.root, env=self.environment, capture_output=True, text=True
        )

    def commit(self, message: str) -> subprocess.CompletedProcess[str]:
        self.run("git", "add", "-A")
        return self.run("git", "commit", "-q", "-m", message)


def test_the_hook_lets_a_faithful_model_pass_and_stops_another(tmp_path):
    repository = Repository(tmp_path / "repository")
    place("teacher", repository.root / "model")
    place("teacher", repository.root / "source")
    passed = repository.commit("the source itself")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout + passed.stderr

    place("sibling", repository.root / "model")
    stopped = repository.commit("another model")
    said = stopped.stdout + stopped.stderr
    assert stopped.returncode == 1, said
    assert "Failed" in said
    assert "exit code: 3" in said
    assert repository.run("git", "log", "--oneline").stdout.count("\n") == 1
    # The entry line alone, as another hook runner would call it.
    alone = subprocess.run(
        shlex.split(hook()["entry"]), cwd=repository.root, env=repository.environment, check=False
    )
    assert alone.returncode == 3
