"""What the README shows works as shown."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from auditor.cli.main import cli
from auditor.controls.case_members import case_members
from auditor.controls.case_recipe import CaseRecipe
from auditor.distill.recipe import recipe_from
from auditor.outputs import OutputSet, Pair
from auditor.types import Access, ModelRef, Probe

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fences if name == language]


def test_the_measure_of_the_readme_is_one_that_the_framework_takes():
    names: dict = {}
    exec(compile(blocks("python")[0], "README.md", "exec"), names)  # noqa: S102
    model = ModelRef(spec="tiny:x", access=Access.WEIGHTS)
    probes = (Probe(id="a", category="c", text="t"), Probe(id="b", category="c", text="t"))

    def side(*texts):
        return OutputSet(subject="s", model=model, probes=probes, texts=tuple((t,) for t in texts))

    declared = names["text_length_ratio"]
    # Lengths 3 and 1 plus one: 2/4; both empty: 1/1.
    values = declared.function(Pair(reference=side("abc", ""), suspect=side("x", "")))
    assert values.tolist() == [0.5, 1.0]
    assert declared.name == "text-length-ratio"


def test_the_recipe_of_the_readme_is_valid(tmp_path):
    recipe = recipe_from(yaml.safe_load(blocks("yaml")[1]), tmp_path)
    assert recipe.teacher == "smollm2"
    assert recipe.method.kind == "logits"


def test_the_controls_of_the_readme_are_valid():
    recipe = CaseRecipe.model_validate(yaml.safe_load(blocks("yaml")[0]))
    assert sum(member.role == "independent" for member in case_members(recipe)) == 14


def shown_commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line.startswith("auditor ")]


@pytest.mark.parametrize("line", shown_commands())
def test_the_commands_of_the_readme_parse(line):
    words = shlex.split(line)[1:]
    context = click.Context(cli)
    name = words.pop(0)
    command = cli.get_command(context, name)
    assert command is not None
    if isinstance(command, click.Group):
        name = words.pop(0)
        command = command.commands[name]
    parsed = command.make_context(name, words)
    assert parsed.params is not None


def test_the_install_and_test_lines_are_what_ci_runs():
    assert 'pip install ".[demo]" && auditor demo' in README
    assert 'pip install -e ".[test]" && pytest -n 2' in README
    assert 'pip install -q -e ".[test]" && pytest -n 2' in (ROOT / ".ci" / "run").read_text()
