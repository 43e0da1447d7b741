"""What is seen at each access to a suspect, as measured on the shipped packs."""

import json
from typing import Any

from auditor.data import data_dir


def shipped_power() -> list[dict[str, Any]]:
    """Return the table of each pack that has one, by name: ``{"pack", "rows"}``.

    Counted by `auditor.controls.pack_access`. It is put into a case, so that the case can be read
    without the packs.
    """
    found = []
    for path in sorted((data_dir("probes") / "packs").glob("*/evaluation.json")):
        rows = json.loads(path.read_bytes()).get("access", [])
        if rows:
            found.append({"pack": path.parent.name, "rows": rows})
    return found
