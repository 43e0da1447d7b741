"""Rendered cases, each built once for all tests of the reports."""

from collections.abc import Callable

import pytest
from case_content import CASES
from case_fixture import build_case

from auditor.case import Case
from auditor.report import samples
from auditor.report.render import write_reports


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Callable[[str], Case]:
    """Return a function from a name of `CASES` to the case with its reports."""
    built: dict[str, Case] = {}

    def case_of(name: str) -> Case:
        if name not in built:
            built[name] = build_case(tmp_path_factory.mktemp("report") / "case", **CASES[name])
            # Show every hostile reply, not only those that the rule of the report picks.
            with pytest.MonkeyPatch.context() as patch:
                if name == "hostile":
                    patch.setattr(samples, "RANDOM_SAMPLES", 100)
                write_reports(built[name])
        return built[name]

    return case_of
