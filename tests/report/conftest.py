"""Rendered cases, each built once for all tests of the reports."""

from collections.abc import Callable

import pytest
from case_fixture import build_case

from auditor.case import Case
from auditor.report import samples
from auditor.report.render import write_reports

CONTROLS = [("indep-a", "independent"), ("indep-b", "independent"), ("sib", "sibling")]
CASES = {
    "plain": {},
    "hostile": {"hostile": True, "controls": CONTROLS},
    "text-only": {"positions": False},
    "scan": {"suspects": ("student", "tuned-1.5"), "controls": CONTROLS},
}


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
