"""`auditor reproduce`."""

from pathlib import Path
from typing import Any

import click

from auditor.cli import output

_CODES = {
    "agrees": output.DONE,
    "differs": output.VERIFICATION_FAILED,
    "nothing to compare": output.INCONCLUSIVE,
}


@click.command()
@click.argument("folder", metavar="CASE", type=click.Path(path_type=Path))
@click.option("--sample", type=int, required=True, help="Records to collect again, at random.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random choice.")
@click.option(
    "--least",
    type=float,
    default=1.0,
    show_default=True,
    help="Share of the replies that must be the same, from 0 to 1.",
)
@click.option(
    "--score-tolerance",
    type=float,
    default=1e-3,
    show_default=True,
    help="Largest difference of a token's log-probability, in nats.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reproduce(
    folder: Path, sample: int, seed: int, least: float, score_tolerance: float, as_json: bool
) -> int:
    """Ask the models of a CASE again for a random part of it, and compare.

    Nothing is written. Models that are not there any more are named. Exit codes: 0 it agrees,
    4 no record could be collected again, 5 it differs.
    """
    from auditor.audit import existing_case
    from auditor.reproduction import Reproducing, reproduce_case

    wanted = Reproducing(sample=sample, seed=seed, least=least, scores=score_tolerance)
    result = reproduce_case(existing_case(folder), wanted, output.progress())
    if as_json:
        output.emit_json(result)
    else:
        _show(result)
    return _CODES[result["outcome"]]


def _show(result: dict[str, Any]) -> None:
    """Print what differs, what is not there, and the outcome."""
    for row in result["records"]:
        if not row["agrees"]:
            place = f"{row['subject']} {row['suite']} {row['probe']} repeat {row['repeat']}"
            output.echo(f"differs: {place}: stored {row['stored']!r}, now {row['found']!r}")
    for row in result["scores"]:
        if not row["agrees"]:
            off = row["difference"]
            how = "other tokens" if off is None else f"off by {off:.2g} nats"
            output.echo(f"differs: scores of {row['subject']} on {row['probe']}: {how}")
    for row in result["missing"]:
        output.echo(f"not there: {row['subject']} ({row['spec']}): {row['reason']}")
    replies, scores = result["replies"], result["scores"]
    same = sum(row["agrees"] for row in scores)
    output.echo(
        f"{result['outcome']}: {replies['same']} of {replies['asked']} replies are the same, "
        f"{same} of {len(scores)} texts score alike"
    )
