"""`auditor controls`."""

from pathlib import Path
from typing import Any

import click

from auditor.cli import output
from auditor.cli.executing import executor_of, executor_options

_KINDS = {
    "quantise": ("bits",),
    "reinitialise": ("seed",),
    "prune": ("share",),
    "cast": ("method",),
    "merge": ("method", "others", "base", "share", "seed"),
    "permute": ("method", "seed"),
    "rotate": ("seed",),
    "pack": ("processes",),
    "case": ("executor", "workers", "cluster"),
}
"""What each kind reads; an option that it does not read is refused."""
_OPTIONS = (
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        required=True,
        help="New folder for the model (transformers format).",
    ),
    click.option(
        "--bits",
        type=click.IntRange(2, 16),
        default=8,
        show_default=True,
        help="quantise: bits a weight, one scale a row.",
    ),
    click.option(
        "--method",
        help="cast: float16 (default), bfloat16. merge: linear (default), slerp, ties, dare. "
        "permute: neurons (default), heads, residual, all, full (all, then rotated).",
    ),
    click.option(
        "--share",
        type=click.FloatRange(0, 1, max_open=True),
        help="prune: share of each matrix set to 0 [default: 0.5]. merge ties, dare: share of "
        "each task vector that is dropped [default: 0.8, 0.9].",
    ),
    click.option(
        "--with",
        "others",
        multiple=True,
        metavar="SPEC[=WEIGHT]",
        help="merge: another parent and its weight; SPEC keeps the rest of 1. "
        "Without weights all parents weigh the same.",
    ),
    click.option(
        "--base", metavar="SPEC", help="merge ties, dare: what the parents were fine-tuned from."
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="reinitialise, permute, rotate, merge dare: seed of what is drawn.",
    ),
    click.option(
        "--processes",
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        help="pack: processes, one thread each.",
    ),
)


@click.group()
def controls() -> None:
    """Make control models of known relation to another model."""


def _build_options(command: Any) -> Any:
    command = executor_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@controls.command()
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("spec")
@_build_options
@click.pass_context
def build(context: click.Context, /, kind: str, spec: str, out: Path, **options: Any) -> None:
    """Write a transformed copy of the model SPEC, or (pack, case) every model of a recipe.

    reinitialise draws all weights anew: an unrelated model of the same shape. Every other kind
    makes a replica: quantise rounds every matrix to integers and back, prune drops the smallest
    weights, cast narrows the type, merge mixes in other models, permute and rotate write the same
    function in other weights. pack takes a recipe file (YAML) for SPEC: it trains, scores and
    calibrates the models of a whole pack and can be interrupted and repeated. case takes a recipe
    of controls for one case: independent models, siblings, students and replicas of the reference,
    each made by distill as the suspect may have been, several at once with --executor; use them
    with --control pack:OUT.
    """
    for name, value in options.items():
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and value not in (None, ()) and name not in _KINDS[kind]:
            flag = "--with" if name == "others" else f"--{name}"
            raise click.UsageError(f"{kind} has no use for {flag}")
    output.echo(_build(kind, spec, out, options))


def _build(kind: str, spec: str, out: Path, options: dict[str, Any]) -> Path:
    from auditor.controls import transforms

    method, seed = options["method"], options["seed"]
    if kind in ("pack", "case"):
        return _make_recipe(kind, Path(spec), out, options)
    if kind == "quantise":
        return transforms.quantise(spec, out, bits=options["bits"])
    if kind == "prune":
        share = options["share"]
        return transforms.prune(spec, out, share=0.5 if share is None else share)
    if kind == "cast":
        return transforms.cast(spec, out, dtype=method or "float16")
    if kind == "merge":
        return _merge(spec, out, options)
    if kind == "permute":
        return transforms.permute(spec, out, parts=method or "neurons", seed=seed)
    if kind == "rotate":
        return transforms.rotate(spec, out, seed=seed)
    return transforms.reinitialise(spec, out, seed=seed)


def _make_recipe(kind: str, recipe: Path, out: Path, options: dict[str, Any]) -> Path:
    from auditor.controls.case_building import build_case_controls
    from auditor.controls.pack import make_pack

    if kind == "case":
        executor = executor_of(options)
        return build_case_controls(recipe, out, progress=output.progress(), executor=executor)
    return make_pack(recipe, out, processes=options["processes"], progress=output.progress())


def _merge(spec: str, out: Path, options: dict[str, Any]) -> Path:
    from auditor.controls.transforms import merge
    from auditor.controls.transforms_merging import Merge, parse_parents

    others, weights = parse_parents(options["others"])
    how = Merge(
        method=options["method"] or "linear",
        weights=weights,
        dropped=options["share"],
        seed=options["seed"],
    )
    return merge(spec, out, others=others, how=how, base=options["base"])


@controls.command("list")
def list_packs() -> None:
    """List the packs of controls that ship, for --control pack:NAME."""
    from auditor.models.tiny import pack_controls, packs

    for name in packs():
        found = pack_controls(name)
        families = len({control.family for control in found})
        output.echo(f"pack:{name}  {len(found)} controls of {families} families")


@controls.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the controls of the pack NAME: specifier, role, family."""
    from auditor.models.tiny import pack_controls

    for control in pack_controls(name.removeprefix("pack:")):
        output.echo(f"{control.spec}  {control.role}  {control.family}")
