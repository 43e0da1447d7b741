"""Options of commands that may ask models behind servers: limits, prices, and a forecast."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output

if TYPE_CHECKING:
    from auditor.collect.servers import ServerTerms
    from auditor.models.server_budget import Limits

_LIMITS = (
    click.option(
        "--max-requests",
        type=click.IntRange(min=0),
        help="Stop, with exit code 7, before more requests were sent to servers for this case: "
        "all runs together, failed attempts too.",
    ),
    click.option(
        "--max-cost",
        type=click.FloatRange(min=0),
        help="Stop, with exit code 7, before this case can cost more on servers, all runs "
        "together, in the currency of --prices.",
    ),
    click.option(
        "--prices",
        type=click.Path(path_type=Path, dir_okay=False),
        help="What servers charge for 1,000,000 tokens, YAML or JSON: {schema: auditor/prices/1, "
        "currency: USD, models: {NAME: {input: 0.15, output: 0.60}}}.",
    ),
)
_DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    help="Ask nobody: print the requests, tokens, cost and seconds that servers would take.",
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the limits to a command."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


def spending_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the limits and the forecast to a command."""
    return limit_options(_DRY_RUN(command))


def limits_of(max_requests: int | None, max_cost: float | None, prices: Path | None) -> "Limits":
    """Return the limits of a command's options.

    Raises:
        InputError: the price file cannot be read, or a cost has no prices.
    """
    from auditor.models.price_file import read_prices
    from auditor.models.server_budget import Limits

    found = None if prices is None else read_prices(prices)
    limits = Limits(requests=max_requests, cost=max_cost, prices=found)
    limits.check(())
    return limits


def show_forecast(plan: dict[str, Any], root: Path, terms: "ServerTerms", *, as_json: bool) -> int:
    """Print what the servers of a plan would be asked; return the exit code."""
    from auditor.collect.forecast import forecast

    found = forecast(plan, root, terms)
    if as_json:
        output.emit_json(found)
        return output.DONE
    for row in (*found["subjects"], {**found["total"], "name": "total", "time": ""}):
        cost = "" if row["cost"] is None else f", at most {row['cost']:.4g} {found['currency']}"
        click.echo(
            f"{row['name']:24} {row['requests']:8,} requests, at most {row['prompt_tokens']:,} "
            f"tokens sent and {row['completion_tokens']:,} back{cost}, about "
            f"{row['seconds']:,.0f} s{' (' + row['time'] + ')' if row['time'] else ''}"
        )
    spent = found["spent"]
    if spent["requests"]:
        cost = "" if spent["cost"] is None else f" and {spent['cost']:.4g} {found['currency']}"
        click.echo(f"spent so far: {spent['requests']:,} requests{cost}")
    return output.DONE
