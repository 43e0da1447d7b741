"""`auditor controls`."""

from pathlib import Path

import click


@click.group()
def controls() -> None:
    """Make control models of known relation to another model."""


@controls.command()
@click.argument("kind", type=click.Choice(["quantise", "reinitialise"]))
@click.argument("spec")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="New folder for the model (transformers format).",
)
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    default=8,
    show_default=True,
    help="quantise: bits a weight, one scale a row.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="reinitialise: seed.")
def build(kind: str, spec: str, out: Path, bits: int, seed: int) -> None:
    """Write a transformed copy of the model SPEC.

    quantise rounds every matrix to integers and back: a replica. reinitialise draws all weights
    anew: an unrelated model of the same shape.
    """
    from auditor.controls.transforms import quantise, reinitialise

    if kind == "quantise":
        click.echo(quantise(spec, out, bits=bits))
    else:
        click.echo(reinitialise(spec, out, seed=seed))
