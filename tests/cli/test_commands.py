"""Every command has help for each option, is in the README, and keeps its promises on errors."""

import json
from pathlib import Path

import click
import pytest

from auditor.cli.main import COMMANDS, cli, run

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def all_commands() -> list[tuple[str, click.Command]]:
    found = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", part) for sub, part in command.commands.items()]
        else:
            found.append((name, command))
    return found


@pytest.mark.parametrize(("name", "command"), all_commands(), ids=lambda v: str(v)[:30])
def test_every_command_and_option_has_help(name, command):
    assert command.help, name
    silent = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("name", [name for name, _ in all_commands()])
def test_every_command_is_in_the_readme(name):
    assert f"auditor {name}" in README


def test_an_unknown_command_is_exit_2(capsys):
    assert run(["comapre"]) == 2
    assert "comapre" in capsys.readouterr().err


def test_usage_errors_are_json_where_json_is_asked(capsys):
    assert run(["compare", "tiny:teacher", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "UsageError"
    assert "REFERENCE" in error["message"]


def test_an_unknown_measure_names_close_ones(capsys):
    assert run(["measures", "logit-kl-foward"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "logit-kl-forward" in captured.err


def test_a_bug_is_exit_1_and_says_so(capsys, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("boom")

    monkeypatch.setattr(cli, "main", broken)
    assert run(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["message"] == "internal error: boom"
    assert "Traceback" in captured.err


def test_an_interrupt_is_130_and_tells_how_to_go_on(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert run(["scan"]) == 130
    assert "repeat the command" in capsys.readouterr().err


def test_measures_are_listed_and_explained(capsys):
    assert run(["measures"]) == 0
    assert "logit-kl-forward" in capsys.readouterr().out
    assert run(["measures", "logit-kl-forward"]) == 0
    assert "nats" in capsys.readouterr().out


def test_doctor_finds_the_parts_of_this_installation(capsys):
    assert run(["doctor", "--json"]) == 0
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["data folders"]["status"] == "ok"
    assert "tiny:teacher" in findings["shipped models"]["detail"]


def test_probes_commands_agree_on_the_digest(capsys):
    assert run(["probes", "list", "--json"]) == 0
    suites = json.loads(capsys.readouterr().out)["suites"]
    assert run(["probes", "digest", suites[0]["name"]]) == 0
    assert capsys.readouterr().out.split()[0] == suites[0]["digest"]
    assert run(["probes", "lint"]) == 0
    assert capsys.readouterr().out == f"{len(suites)} suites checked, 0 problems\n"
