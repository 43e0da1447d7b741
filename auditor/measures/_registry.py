"""What a measure declares, and the strict scan that finds all of them.

A measure is a pure function of one `Pair`. The framework (`auditor.measures._run`) drops probes
that must not count or lack data, resamples, and records; the function only computes.
"""

import difflib
import functools
import importlib
import importlib.util
import inspect
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from auditor.canon import file_digest
from auditor.errors import InputError, RegistryError
from auditor.outputs import Pair
from auditor.types import Access, Array

Group = Literal["text", "distribution", "idiosyncrasy", "representation", "weights", "identity"]
Field = Literal[
    "positions",
    "choices",
    "texts",
    "embeddings",
    "hidden",
    "topk",
    "answers",
    "pool",
    "crossing",
    "own",
    "neurons",
    "span",
    "weight_cka",
    "transcripts",
    "rederivation",
    "merge",
]
Subsets = Callable[[Pair, Array], Array]
EXACT = (1e-9, 1e-12)
"""Tolerance of arithmetic in float64 that adds up nothing but what was stored."""

OwnInterval = Callable[[Pair, int, int], tuple[float, float] | None]

GROUPS: tuple[Group, ...] = get_args(Group)
FIELDS: tuple[Field, ...] = get_args(Field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure: its function and everything that the contract test holds it to."""

    name: str
    version: int
    """Raised when the formula changes; old cases keep the old number."""
    group: Group
    unit: str
    bounds: tuple[float, float]
    """Every value lies in here, up to rounding; infinities mean no limit."""
    identical: float | None
    """The value of a subject against itself; None where it depends on the controls."""
    closer: Literal["higher", "lower"]
    """Which way a suspect moves that resembles the reference more."""
    symmetric: bool
    """Whether swapping reference and suspect keeps the value."""
    needs: tuple[Field, ...]
    """Fields of the pair that it reads; a probe without them does not reach the function."""
    reduce: Literal["mean", "pooled"]
    """``mean``: the function returns (P,) float64, NaN where it does not apply to a probe, and the
    value is the mean of the rest. ``pooled``: it returns one float for the pair."""
    access: Access
    """What must be observable of the suspect."""
    library: str
    """Who does the arithmetic: an installed distribution, or ``python`` itself. Its version is
    recorded with each value."""
    function: Callable[[Pair], Array | float]
    subsets: Subsets | None = None
    """Pooled only: the same statistic on many subsets of the probes at once, (B, P) bool -> (B,).
    Declared where recomputing per subset would be too slow; held to `function` by the contract."""
    resampled: bool = True
    """Whether other probes could have given another value; False for statistics of the weights,
    which have no interval over probes."""
    interval: OwnInterval | None = None
    """Only where `resampled` is False: (pair, seed, resamples) -> the 95 % interval of the value
    over units of its own, such as blocks of weights; None for none."""
    tolerance: tuple[float, float] = EXACT
    """Largest relative, and absolute, difference of another implementation that is rounding."""

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def as_json(self) -> dict[str, Any]:
        """Return the declaration as JSON values; a missing limit is null."""
        return {
            "measure": self.id,
            "name": self.name,
            "version": self.version,
            "group": self.group,
            "unit": self.unit,
            "bounds": [limit if math.isfinite(limit) else None for limit in self.bounds],
            "identical": self.identical,
            "closer": self.closer,
            "symmetric": self.symmetric,
            "needs": list(self.needs),
            "reduce": self.reduce,
            "access": self.access.name,
            "library": self.library,
            "source_digest": self.source_digest,
            "documentation": self.documentation,
        }

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    @property
    def documentation(self) -> str:
        """The whole docstring: formula, source, range, degenerate input, pitfalls."""
        return inspect.getdoc(self.function) or ""

    @property
    def source(self) -> Path:
        """The file that defines it."""
        return Path(self.function.__code__.co_filename)

    @property
    def source_digest(self) -> str:
        """``sha256:<hex>`` of that file."""
        return file_digest(self.source)

    def __call__(self, pair: Pair) -> Array | float:
        """Return the raw result on a pair, see `reduce`; UndefinedError where it has none."""
        return self.function(pair)


def measure(
    name: str,
    *,
    version: int,
    group: Group,
    unit: str,
    bounds: tuple[float, float],
    identical: float | None,
    closer: Literal["higher", "lower"],
    symmetric: bool,
    needs: tuple[Field, ...],
    reduce: Literal["mean", "pooled"] = "mean",
    access: Access = Access.TEXT,
    library: str = "numpy",
    subsets: Subsets | None = None,
    resampled: bool = True,
    interval: OwnInterval | None = None,
    tolerance: tuple[float, float] = EXACT,
) -> Callable[[Callable[[Pair], Array | float]], Measure]:
    """Turn a pure function of a `Pair` into a `Measure`; see the fields of that class.

    Raises:
        RegistryError: the declaration contradicts itself.
    """

    def declare(function: Callable[[Pair], Array | float]) -> Measure:
        declared = Measure(
            name=name,
            version=version,
            group=group,
            unit=unit,
            bounds=bounds,
            identical=identical,
            closer=closer,
            symmetric=symmetric,
            needs=needs,
            reduce=reduce,
            access=access,
            library=library,
            function=function,
            subsets=subsets,
            resampled=resampled,
            interval=interval,
            tolerance=tolerance,
        )
        _check(declared)
        return declared

    return declare


def _check(declared: Measure) -> None:
    low, high = declared.bounds
    faults = {
        "version must be 1 or more": declared.version < 1,
        f"group must be one of {', '.join(GROUPS)}": declared.group not in GROUPS,
        f"needs must name some of {', '.join(FIELDS)}": not declared.needs
        or not set(declared.needs) <= set(FIELDS),
        "identical must be a number within bounds": declared.identical is not None
        and not (low <= declared.identical <= high and math.isfinite(declared.identical)),
        "subsets is for pooled measures": declared.subsets is not None
        and declared.reduce == "mean",
        "only a pooled measure can have no interval": not declared.resampled
        and declared.reduce == "mean",
        "an interval of its own is for what is not resampled": declared.interval is not None
        and declared.resampled,
        "the function has no docstring": not declared.summary,
    }
    found = [fault for fault, present in faults.items() if present]
    if found:
        raise RegistryError(f"{declared.source}: measure {declared.name!r}: {'; '.join(found)}")


def scan(package: ModuleType) -> tuple[Measure, ...]:
    """Return the measures of a package, one a file, sorted by name; ``_names`` are skipped.

    Raises:
        RegistryError: a file cannot be imported, holds no measure or several, or uses the name
            of another file's measure. Nothing is skipped: a case must not lose a measure unseen.
    """
    found: dict[str, Measure] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        if module.startswith("_"):
            continue
        one = _only_measure(f"{package.__name__}.{module}")
        if one.name in found:
            raise RegistryError(
                f"two measures are named {one.name!r}: {found[one.name].source} and {one.source}",
                hint="rename one of them",
            )
        found[one.name] = one
    return tuple(found[name] for name in sorted(found))


def _only_measure(module_name: str) -> Measure:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        spec = importlib.util.find_spec(module_name)
        path = spec.origin if spec else module_name
        raise RegistryError(
            f"the measure file {path} cannot be imported: {type(error).__name__}: {error}",
            hint="repair or remove the file",
        ) from error
    # A measure imported from another file belongs to that file.
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, Measure) and value.function.__module__ == module_name
    ]
    if len(own) != 1:
        raise RegistryError(
            f"the measure file {module.__file__} defines {len(own)} measures",
            hint="one measure a file; files that share code are named _like_this.py",
        )
    return own[0]


@functools.cache
def all_measures() -> tuple[Measure, ...]:
    """Return every measure, sorted by name. Scans on first use.

    Raises:
        RegistryError: the set of measures is not well formed.
    """
    import auditor.measures

    return scan(auditor.measures)


def get(name: str) -> Measure:
    """Return the measure ``name`` or ``name@version``.

    Raises:
        InputError: there is none, or it has another version.
    """
    stem, _, version = name.partition("@")
    known = {one.name: one for one in all_measures()}
    if stem not in known:
        close = difflib.get_close_matches(stem, known, n=3, cutoff=0.5)
        raise InputError(
            f"unknown measure {name!r}",
            hint=f"did you mean {' or '.join(close)}?" if close else "see: auditor measures",
        )
    if version and version != str(known[stem].version):
        raise InputError(
            f"measure {name!r} is not available",
            hint=f"this release computes {known[stem].id}",
        )
    return known[stem]
