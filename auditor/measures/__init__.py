"""Named, versioned pure functions of stored outputs; one measure a file, found by scanning.

Add a measure: one file here, named like the measure, and one test beside its twin. The contract
test (tests/measures/test_measure_contract.py) then runs on it with no other edit.

Why a scan and no entry points: software that happens to be installed must not change evidence.
"""

from auditor.measures._registry import Measure, all_measures, get, measure

__all__ = ["Measure", "all_measures", "get", "measure"]
