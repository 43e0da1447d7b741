"""The `auditor` command: finds the command asked for, and turns errors into exit codes.

Command modules are imported when they are called, so that `auditor --help` loads no torch.
"""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from auditor import __version__
from auditor.cli import output
from auditor.errors import AuditorError

# command -> (module of auditor.cli, one line for the list of commands)
COMMANDS = {
    "demo": ("demo", "Distill a tiny student, compare it and two others with its teacher."),
    "compare": ("compare", "Measure how closely a suspect model mimics a reference model."),
    "scan": ("scan", "Compare many suspects with one reference; each model is run once."),
    "claims": ("claims", "Hold what a model card claims against the findings of an audit."),
    "plan": ("plan", "Write, freeze and show the plan of an audit."),
    "audit": ("audit", "Carry out a plan: collect, measure, judge, report."),
    "distill": ("distill", "Train a student from a teacher and record what went in."),
    "lineage": ("lineage", "Show, check, prove and export what a distillation run recorded."),
    "collect": ("stages", "Run the models of a case and store what they say."),
    "measure": ("stages", "Compute the measures of a collected case."),
    "judge": ("stages", "Draw the conclusion of a measured case."),
    "seal": ("seal", "Close a finished case so that strangers can verify it."),
    "sign": ("seal", "Add a signature to a sealed case."),
    "redact": ("redact", "Copy a sealed case without some replies, and prove all others."),
    "verify": ("verify", "Check a sealed case: fourteen checks, and a level."),
    "keys": ("keys", "Make keys that sign sealed cases."),
    "timestamp": ("timestamp", "Ask for a trusted time, and keep the answer, offline."),
    "report": ("report", "Write a case's report: HTML, Markdown, JSON, JUnit, SARIF."),
    "certify": ("certify", "Draft certificates and checklists from a sealed case."),
    "export": ("export", "Give a sealed case to other tools: CycloneDX, RO-Crate."),
    "diff": ("diff", "Show what differs between two cases, and by how much."),
    "reproduce": ("reproduce", "Ask the models of a case again for a random part, and compare."),
    "watch": ("watch", "Test whether an endpoint is still the same model."),
    "fingerprint": ("fingerprint", "Compare models without showing weights or text."),
    "exercise": ("exercise", "Make blinded suspects of known truth, score an examiner."),
    "controls": ("controls", "Make control models of known relation to another model."),
    "probes": ("probes", "List, show, check and digest probe suites."),
    "measures": ("measures", "List the measures, or explain one."),
    "models": ("models", "Identify a model: digests, size, access."),
    "bench": ("bench", "Measure our kernels beside installed peers."),
    "doctor": ("doctor", "Say what this machine can do and what is missing."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of a first reading."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"auditor.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from their one-line texts, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="auditor")
def cli() -> None:
    """Distill language models with a provable record, and audit how closely one mimics another.

    Models are named SCHEME:REST, for example local:DIR, gguf:FILE, hf:org/name@revision,
    records:FILE.jsonl, tiny:teacher or smollm2. Start with: auditor demo

    Exit codes: 0 done, 1 internal error, 2 bad input, 3 --fail-on met, 4 inconclusive or
    incomplete where a gate was asked, 5 verification failed, 6 intact but not authenticated to
    the level asked, 130 interrupted (repeat the command to continue).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command and return its exit code; errors are shown as people or --json want them."""
    as_json = "--json" in words
    try:
        result = cli.main(words, prog_name="auditor", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        output.say("interrupted: repeat the command to continue")
        return output.INTERRUPTED
    except click.ClickException as error:
        if as_json:
            output.show_error("UsageError", error.format_message(), None, as_json=True)
        else:
            _show_usage(error)
        return output.BAD_INPUT
    except AuditorError as error:
        output.show_error(type(error).__name__, error.message, error.hint, as_json=as_json)
        return output.exit_code(error)
    except BrokenPipeError:
        # The reader closed the pipe (head, less): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return output.DONE
    except Exception as error:  # the last line of defence: say that it is our fault
        output.say(traceback.format_exc().rstrip("\n"))
        output.show_error(
            type(error).__name__,
            f"internal error: {error}",
            "this is a bug; please report it with the traceback",
            as_json=as_json,
        )
        return output.INTERNAL
    return result if isinstance(result, int) else output.DONE


def _show_usage(error: click.ClickException) -> None:
    """Print what click says of wrong usage; the words of the user in it made visible."""
    said = io.StringIO()
    error.show(file=said)
    output.say(said.getvalue().rstrip("\n"))
