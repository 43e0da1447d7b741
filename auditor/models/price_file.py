"""What a server charges, out of a file that people write: YAML or JSON.

schema: auditor/prices/1
currency: USD
models:
  my-model: {input: 0.15, output: 0.60}     # for 1,000,000 tokens
  other: {input: 1, output: 2, request: 0.001}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.canon import whole_text
from auditor.errors import InputError

SCHEMA = "auditor/prices/1"
_MILLION = 1_000_000
_HIGHEST = 1e12
"""Of what a server charges in any currency; with it every cost is a finite number."""
_CONSTRUCTING = (ArithmeticError, AttributeError, LookupError, RecursionError, ValueError)
"""What YAML raises besides at dates, numbers and words that are none."""
_KEYS = ("input", "output", "request")
_FORM = (
    f"write it like {{schema: {SCHEMA}, currency: USD, "
    "models: {NAME: {input: 0.15, output: 0.60}}}, prices for 1,000,000 tokens"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one model, in the currency of its file."""

    input: float
    """For a million tokens that are sent."""
    output: float
    """For a million tokens that come back."""
    request: float = 0.0
    """For each request besides."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of one request."""
        tokens = self.input * prompt_tokens + self.output * completion_tokens
        return self.request + tokens / _MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The content of a price file."""

    currency: str
    models: Mapping[str, Price]
    path: str

    def of(self, model: str) -> Price:
        """Return the price of a model, by the name that the specifier asks for.

        Raises:
            InputError: the file does not name it.
        """
        if model not in self.models:
            listed = ", ".join(sorted(self.models))
            raise InputError(
                f"{self.path} has no price of the model {model!r}",
                hint=f"add it under models; it has: {listed or 'none'}",
            )
        return self.models[model]


def read_prices(path: Path) -> Prices:
    """Return the prices of a file.

    Raises:
        InputError: it cannot be read, or is no price file; says where.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=_FORM) from error
    except (yaml.YAMLError, *_CONSTRUCTING) as error:
        raise InputError(f"{path} is neither YAML nor JSON: {error}", hint=_FORM) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a price file of schema {SCHEMA}", hint=_FORM)
    # Escapes can name halves of surrogate pairs, which nothing can print.
    unknown = sorted({whole_text(str(key)) for key in content} - {"schema", "currency", "models"})
    models, currency = content.get("models"), content.get("currency")
    if unknown or not isinstance(models, dict) or not isinstance(currency, str):
        what = f"has the unknown key {unknown[0]}" if unknown else "lacks models or currency"
        raise InputError(f"{path} {what}", hint=_FORM)
    named = {whole_text(str(name)): value for name, value in models.items()}
    prices = {name: _price(path, name, value) for name, value in named.items()}
    return Prices(currency=whole_text(currency), models=prices, path=str(path))


def _price(path: Path, name: str, value: Any) -> Price:
    keys = {*value} if isinstance(value, dict) else set()
    if not {"input", "output"} <= keys <= {*_KEYS}:
        raise InputError(f"{path}: the price of {name} needs input and output alone", hint=_FORM)
    for key, number in value.items():
        plain = isinstance(number, int | float) and not isinstance(number, bool)
        if not plain or not 0 <= number <= _HIGHEST:
            raise InputError(f"{path}: {name}.{key} is {_shown(number)}, no price", hint=_FORM)
    return Price(**{key: float(number) for key, number in value.items()})


def _shown(value: Any) -> str:
    if isinstance(value, str) or (isinstance(value, int | float) and not abs(value) > _HIGHEST):
        return repr(value)
    return "beyond all prices" if isinstance(value, int | float) else f"a {type(value).__name__}"
