"""Reading a recipe file, and saying what is wrong with it in one sentence and a remedy."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import RecipeError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


def read_yaml(path: Path, noun: str = "recipe") -> Any:
    """Return the content of a YAML file, where no key may stand twice.

    Args:
        path: of the file.
        noun: what the file is, for messages.

    Raises:
        RecipeError: missing, not UTF-8, not YAML, or a key is repeated.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise RecipeError(
            f"cannot read the {noun} {path}: {error.strerror}", hint="check the path"
        ) from error
    try:
        return yaml.load(text, Loader=_strict_loader())  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error


def _strict_loader() -> Any:
    import yaml

    class StrictLoader(yaml.SafeLoader):
        """A safe loader that refuses a key given twice: plain YAML lets the last one win."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} stands twice", node.start_mark
            )
        return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))

    StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return StrictLoader


def recipe_error(
    error: "ValidationError", root: "type[BaseModel]", noun: str = "recipe"
) -> RecipeError:
    """Return the first problem of a recipe as an error that names the key and the remedy."""
    problems = error.errors(include_url=False)
    # A misspelt key shows up as a missing key too; the unknown one says what to do.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = tuple(str(part) for part in problem["loc"])
    dotted = ".".join(where) or f"the {noun}"
    if problem["type"] == "extra_forbidden":
        return _unknown_key(where, allowed_keys(root, where[:-1]))
    if problem["type"] == "missing":
        keys = ", ".join(allowed_keys(root, where[:-1]))
        return RecipeError(f"the key {dotted} is missing", hint=f"keys allowed here: {keys}")
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(dotted, problem)
    reason = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return RecipeError(f"{dotted}: {reason}", hint=f"change the {noun} and repeat")
    return RecipeError(f"{dotted}: {reason}, found {problem['input']!r}")


def _unknown_key(where: Sequence[str], allowed: Sequence[str]) -> RecipeError:
    close = difflib.get_close_matches(where[-1], allowed, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return RecipeError(
        f"unknown key {'.'.join(where)}", hint=f"{guess}keys allowed here: {', '.join(allowed)}"
    )


def _unknown_kind(dotted: str, problem: Any) -> RecipeError:
    if problem["type"] == "union_tag_not_found":
        return RecipeError(f"the key {dotted}.kind is missing", hint="say what kind it is")
    kinds = problem["ctx"]["expected_tags"].replace("'", "")
    return RecipeError(
        f"{dotted}: there is no kind {problem['ctx']['tag']!r}", hint=f"choose one of: {kinds}"
    )


def allowed_keys(root: "type[BaseModel]", where: Sequence[str]) -> list[str]:
    """Return the keys of the mapping at `where`, as written in YAML, sorted."""
    models: list[Any] = [root]
    for part in where:
        if len(models) > 1:  # in a list of several kinds the path has a number, then the kind
            models = [model for model in models if part in _kinds(model)] or models
            continue
        fields = models[0].model_fields.items()
        field = next((f for name, f in fields if part in (name, f.alias)), None)
        models = (_mapping_types(field.annotation) if field is not None else []) or models
    return sorted(field.alias or name for name, field in models[0].model_fields.items())


def _mapping_types(annotation: Any) -> list[Any]:
    """Return the pydantic classes inside an annotation, as in ``X | None`` or ``list[X | Y]``."""
    from typing import get_args

    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [found for part in get_args(annotation) for found in _mapping_types(part)]


def _kinds(model: Any) -> tuple[Any, ...]:
    from typing import get_args

    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()
