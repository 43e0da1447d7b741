"""References (V10): a statistic's inputs are there, and a number of a report is a statistic."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import auditor
from auditor.bundle.check import Check, judged
from auditor.bundle.check_parent import original, statistic_faults
from auditor.case import Case
from auditor.measures import all_measures
from auditor.report.findings import suspects
from auditor.report.result import report_name, result_name, stored_result
from auditor.withheld import withheld_names


def check_references(case: Case) -> Check:
    """V10: inputs exist, ids are unique, results and reports show the stored statistics."""
    return judged("V10", _faults(case))


def _faults(case: Case) -> Iterator[str]:
    statistics = case.read_json("statistics.json")
    judged_of = case.read_json("conclusion.json")["suspects"]
    names = suspects(case)
    if not sorted(statistics["suspects"]) == sorted(judged_of) == sorted(names):
        yield "statistics.json, conclusion.json and plan.json are about other suspects"
        return
    expected = _expected(case)
    yield from statistic_faults(case)
    for name in names:
        rows = statistics["suspects"][name]
        for missing in sorted(expected - {row["measure"] for row in rows}):
            yield f"statistics.json: {missing} is not there for {name}, not even as undefined"
        yield from _input_faults(case, name, rows)
        if case.read_json(result_name(case, name)) != stored_result(case, name):
            yield f"data/{result_name(case, name)} is not the stored statistics and conclusion"
        page = case.data / report_name(case, name)
        yield from _shown_faults(page.name, page.read_text(encoding="utf-8"), rows, case)


def _expected(case: Case) -> set[str]:
    """Return the measures that a case of this release has; none are known of another one."""
    source = original(case.root)
    index = case.read_json("evidence.json") if source is None else source.evidence
    if index["tool"]["version"] != auditor.__version__:
        return set()
    return {measure.id for measure in all_measures()}


def _input_faults(case: Case, suspect: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    ids = [row["id"] for row in rows]
    withheld = withheld_names(case)
    if len(set(ids)) != len(ids):
        yield f"statistics.json: an id is there twice for {suspect}"
    for row in rows:
        if (row["value"] is None) == (row["undefined"] is None):
            yield f"statistics.json: {row['id']} needs either a value or a reason"
        if row["value"] is None:
            continue
        for name in row["inputs"]:
            if not (case.data / name).exists() and name not in withheld:
                yield f"statistics.json: {row['id']} rests on data/{name}, which is not there"


class _Page(HTMLParser):
    """The ids of statistics and the exact numbers that a report shows."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.numbers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an anchor of a statistic, or a number."""
        found = dict(attrs)
        if tag == "data":
            self.numbers.append(found.get("value") or "")
        if "id" in (found.get("class") or "").split() and found.get("id"):
            self.ids.add(found["id"] or "")


def _shown_faults(name: str, text: str, rows: list[dict[str, Any]], case: Case) -> Iterator[str]:
    page = _Page()
    page.feed(text)
    known = {row["id"] for row in rows}
    for missing in sorted(known - page.ids):
        yield f"data/{name} does not show {missing}"
    stored = set(_numbers([rows, case.read_json("conclusion.json"), _marks(case)]))
    for number in page.numbers:
        if float(number) not in stored:
            yield f"data/{name} shows {number}, which is no stored number"


def _marks(case: Case) -> Any:
    return case.read_json("marks.json") if (case.data / "marks.json").is_file() else None


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(one)
