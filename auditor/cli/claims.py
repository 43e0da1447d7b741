"""`auditor claims`: what a model card claims, beside what audits found."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output
from auditor.errors import CaseError, InputError

if TYPE_CHECKING:
    from auditor.registry.claims import Outcome

_SCHEMAS = {"auditor/result/1": "one", "auditor/scan/1": "many"}
_LINK = "undeclared_link"
_UNTESTED = ("datasets",)
"""Kinds that no audit can decide: a gate does not wait for them."""


@click.command()
@click.argument("model")
@click.option(
    "--findings",
    "sources",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A case folder, or the JSON of compare or scan; again for each further reference.",
)
@click.option(
    "--alias",
    "aliases",
    multiple=True,
    metavar="NAME[=SPEC]",
    help="Another name of the reference of the findings, as the card may have it: org/name; of "
    "several references with the specifier of the one: org/name=local:/models/base.",
)
@click.option(
    "--fail-on",
    "gates",
    multiple=True,
    type=click.Choice(["contradicted", "undeclared"]),
    help="Exit with 3 where a claim is contradicted, or a link was found to a model that the card "
    "does not name; with 4 where a claim is unverified, such a link is not decided, or the card "
    "cannot be read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def claims(
    model: str,
    sources: tuple[Path, ...],
    aliases: tuple[str, ...],
    gates: tuple[str, ...],
    as_json: bool,
) -> int:
    """Hold what the card of MODEL claims of its origin against findings of audits.

    Read are README.md (front matter and text), config.json, lineage.json and the metadata of a
    GGUF file. Each claim is consistent, contradicted, unverified, or not made. Only the reading of
    an audit contradicts: never a raw similarity.
    """
    from auditor.models.specifier import identify
    from auditor.registry.card import card_path, read_card
    from auditor.registry.claims import SCHEMA, held_against, is_of_itself

    card = read_card(card_path(model))
    ref = identify(model)
    found = [result for path in sources for result in _results(path)]
    about = [result for result in found if result["suspect"]["digest"] == ref.digest]
    if not about:
        seen = ", ".join(sorted({result["suspect"]["spec"] for result in found})) or "none"
        raise InputError(
            f"no finding is about {ref.spec} as it is now (its weights' digest is {ref.digest})",
            hint=f"the findings are about: {seen}; audit this model",
        )
    references = {one["reference"]["spec"] for one in about if not is_of_itself(one, ref.spec)}
    pairs = [_alias(alias, sorted(references)) for alias in aliases]
    outcomes = held_against(card, about, pairs, ref.spec)
    if as_json:
        rows = [one.as_json() for one in outcomes]
        problems = list(card.problems)
        model_row = {"spec": ref.spec, "digest": ref.digest}
        output.emit_json(
            {"schema": SCHEMA, "model": model_row, "claims": rows, "problems": problems}
        )
    else:
        _show(outcomes, card.problems)
    return _code(outcomes, card.problems, gates)


def _alias(text: str, references: list[str]) -> tuple[str, str]:
    """Return a name and the reference that it is of.

    Raises:
        InputError: no finding has the reference, or the name could be of several.
    """
    name, given, spec = text.partition("=")
    known = f"the findings compare with: {', '.join(references) or 'the model itself alone'}"
    if given and spec not in references:
        raise InputError(f"--alias {text}: no finding compares with {spec}", hint=known)
    if not given and len(references) > 1:
        raise InputError(
            f"--alias {name} could be of any of {len(references)} references",
            hint=f"say of which: --alias {name}=SPEC; {known}",
        )
    return name, spec if given else "".join(references)


def _results(path: Path) -> list[dict[str, Any]]:
    """Return the results of a case folder or a JSON file.

    Raises:
        InputError: it is neither.
    """
    if path.is_dir():
        from auditor.audit import existing_case
        from auditor.report.findings import suspects
        from auditor.report.result import result_json

        case = existing_case(path)
        return [result_json(case, name) for name in suspects(case)]
    try:
        content = json.loads(path.read_bytes())
        form = _SCHEMAS[content["schema"]]
    except OSError as error:
        raise CaseError(
            f"{path} cannot be read: {error.strerror}", hint="give a case folder or a result"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} holds no result of compare or scan",
            hint="give a case folder, its result.json, or what --json printed",
        ) from error
    return _checked(path, [content] if form == "one" else content.get("results"))


def _checked(path: Path, results: Any) -> list[dict[str, Any]]:
    from auditor.bundle.schemas import departures

    rows = results if isinstance(results, list) else [results]
    for row in rows:
        for departure in departures(row, "result"):
            raise InputError(
                f"{path} is not as its schema has it: {departure}", hint="make the result again"
            )
    return rows


def _show(outcomes: "tuple[Outcome, ...]", problems: tuple[str, ...]) -> None:
    for one in outcomes:
        output.echo(f"{one.kind.replace('_', ' '):16} {one.status:13} {one.reason}")
        if one.claim is not None:
            output.echo(f"{'':16} {one.claim.source}: {one.claim.quote}")
    for problem in problems:
        output.echo(f"not read: {problem}")


def _code(
    outcomes: "tuple[Outcome, ...]", problems: tuple[str, ...], gates: tuple[str, ...]
) -> int:
    statuses = {one.status for one in outcomes if one.kind not in (*_UNTESTED, _LINK)}
    links = {one.status for one in outcomes if one.kind == _LINK and "undeclared" in gates}
    if ("contradicted" in gates and "contradicted" in statuses) or "no claim" in links:
        return output.GATE_MET
    if gates and ("unverified" in statuses | links or problems):
        return output.INCONCLUSIVE
    return output.DONE
