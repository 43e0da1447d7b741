"""Results as JUnit XML, which build servers show: a suite a suspect, a test a measure.

A measure with a value passes, an undefined one is skipped with its reason. Similarity is no
failure: the test ``conclusion`` fails only where the caller's gate (``--fail-on``) holds, and is in
error where it cannot be decided.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from auditor.report.escape import visible
from auditor.report.words import ends, number, reading_sentence, sentence

Gates = Mapping[str, bool | None]
"""{suspect: whether the gate holds; None: it cannot be decided}."""


def junit_of(results: Mapping[str, dict[str, Any]], gates: Gates, expression: str | None) -> str:
    """Return the XML text of results (DESIGN, section 5) by the suspect's name.

    Args:
        results: ``auditor/result/1`` of each suspect.
        gates: of each suspect; empty without a gate.
        expression: the gate as it was written.
    """
    root = ET.Element("testsuites", name="auditor")
    suites = [
        _suite(root, name, result, gates.get(name, False), expression)
        for name, result in results.items()
    ]
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ET.Element, name: str, result: dict[str, Any], gate: bool | None, expression: str | None
) -> ET.Element:
    reference = result["reference"]["spec"]
    suite = ET.SubElement(root, "testsuite", name=visible(f"{name} against {reference}"))
    rows = result["measurements"]
    for row in rows:
        _measure(suite, name, row)
    case = ET.SubElement(suite, "testcase", classname=visible(name), name="conclusion")
    said = visible(reading_sentence(result["conclusion"], name, reference))
    if expression and gate is not False:
        kind, text = ("failure", "holds") if gate else ("error", "cannot be decided: a value lacks")
        ET.SubElement(case, kind, message=f"--fail-on {visible(expression)} {text}").text = said
    ET.SubElement(case, "system-out").text = said
    suite.set("tests", str(len(rows) + 1))
    suite.set("skipped", str(sum(row["undefined"] is not None for row in rows)))
    suite.set("failures", str(len(case.findall("failure"))))
    suite.set("errors", str(len(case.findall("error"))))
    return suite


def _measure(suite: ET.Element, suspect: str, row: dict[str, Any]) -> None:
    name = f"{suspect}.{row['group']}"
    case = ET.SubElement(suite, "testcase", classname=visible(name), name=visible(row["measure"]))
    if row["undefined"] is not None:
        ET.SubElement(case, "skipped", message=sentence(visible(row["undefined"])))
        return
    text = f"{number(row['value'])} {visible(row['unit'])}"
    if row["interval"]:
        text += " (95 % interval {} to {})".format(*ends(*row["interval"]))
    ET.SubElement(case, "system-out").text = f"{row['id']}: {text}, closer is {row['closer']}"
