"""The cases by name; a case's file is imported when it is asked for."""

from collections.abc import Callable
from importlib import import_module

from auditor.bench.experiment import Experiment, Settings
from auditor.errors import InputError

CASES = ("agreement", "linear", "losses", "permutation", "cka", "knn", "collect", "distill")


def experiment_keys(case: str) -> list[str]:
    """Return the names of a case's experiments.

    Raises:
        InputError: no such case.
    """
    return list(_builders(case))


def build(case: str, key: str, settings: Settings) -> Experiment:
    """Return an experiment with its inputs, which are the same in every process."""
    return _builders(case)[key](settings)


def _builders(case: str) -> dict[str, Callable[[Settings], Experiment]]:
    if case not in CASES:
        raise InputError(f"no case is called {case!r}", hint="choose from " + ", ".join(CASES))
    builders: dict[str, Callable[[Settings], Experiment]] = import_module(
        f"auditor.bench.case_{case}"
    ).EXPERIMENTS
    return builders
