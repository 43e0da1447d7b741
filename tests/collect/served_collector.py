"""Collects a case in a process of its own, to be killed: ``served_collector.py ROOT PLAN SPEC``."""

import json
import sys
from pathlib import Path

from served_world import collect

if __name__ == "__main__":
    root, plan, spec = sys.argv[1:]
    collect(Path(root), json.loads(Path(plan).read_text()), spec)
