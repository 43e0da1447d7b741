"""Texts in languages that the recipe does not allow, told apart by py3langid."""

from collections.abc import Sequence
from typing import Any

from auditor.distill.filter_choices import LanguageChoice
from auditor.distill.filter_items import Item
from auditor.errors import MissingExtraError, RecipeError


def language_reasons(choice: LanguageChoice, items: Sequence[Item]) -> list[str | None]:
    """Return for each item the language it is in where that is not allowed, else None.

    Lui & Baldwin 2012 (langid.py): naive Bayes over byte n-grams; probabilities are of the
    language among all that the model knows.

    Raises:
        MissingExtraError: py3langid is not installed.
        RecipeError: the model knows no language of that code.
    """
    identifier = _identifier()
    unknown = sorted(set(choice.allow) - set(identifier.labels))
    if unknown:
        raise RecipeError(
            f"data.filters: there is no language {unknown[0]!r}",
            hint=f"allow some of: {', '.join(sorted(identifier.labels))}",
        )

    def reason(text: str) -> str | None:
        language, probability = identifier.classify(text)
        if language not in choice.allow:
            return f"language {language}"
        return "uncertain language" if probability < choice.min_probability else None

    return [reason(item.text) for item in items]


def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError(
            "the filter language needs the package py3langid",
            hint="pip install 'auditor[filters]'",
        ) from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
