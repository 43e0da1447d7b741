"""One statement of where a model comes from, as its card makes it."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["base_model", "from_scratch", "quantised_from", "teachers", "datasets"]
KINDS: tuple[Kind, ...] = ("base_model", "from_scratch", "quantised_from", "teachers", "datasets")
_QUOTE = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement of origin."""

    kind: Kind
    quote: str
    """As written, shortened."""
    source: str
    """``README.md, front matter``, ``README.md, text``, ``config.json``, ..."""
    target: str | None = None
    """The model or data set that it names."""
    relation: str | None = None
    """``finetune``, ``adapter``, ``merge``, ``quantized``, or None where not said."""
    digest: str | None = None
    """Of the weights of `target`, where the claim gives it."""
    dose: float | None = None
    """Share of the teacher in the loss, where the claim gives it."""
    plain: bool = True
    """False where it need not be said of this model's weights: a sentence on another, a config.

    It names, and is never contradicted.
    """


def quoted(kind: Kind, quote: str, source: str, **more: Any) -> Claim:
    """Return a claim with its quote on one line of 160 characters at most."""
    line = " ".join(quote.split())
    short = line if len(line) <= _QUOTE else line[: _QUOTE - 1] + "…"
    return Claim(kind=kind, quote=short, source=source, **more)
