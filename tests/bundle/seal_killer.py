"""Seals one case again and again in children that kill themselves, each at another step.

usage: seal_killer.py CASE OUT STEP... ; prints how many steps a whole seal has, then, for each
STEP, whether OUT and OUT.part were there after the kill, and which of them verify took.
"""

import os
import signal
import sys
from pathlib import Path

from auditor.audit import existing_case
from auditor.bundle.seal import part_of
from auditor.bundle.verify import verify
from auditor.errors import CaseError
from auditor.sealing import seal_case

_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile")


def seal_until(case, target, step, count_to=None):
    """Seal; kill this process before the given step under the target, or write their number."""
    place, seen = str(target), 0

    def hook(event, arguments):
        nonlocal seen
        if event in _EVENTS and any(str(one).startswith(place) for one in arguments):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    seal_case(case, target)
    if count_to is not None:
        os.write(count_to, str(seen).encode())


def in_child(*arguments):
    child = os.fork()
    if child == 0:
        seal_until(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(root, out, fractions):
    import matplotlib.pyplot  # noqa: F401  (loaded once, not in every child)

    case, target = existing_case(Path(root)), Path(out)
    reader, writer = os.pipe()
    if in_child(case, target.with_name("whole.evidence"), None, writer) != 0:
        raise SystemExit("the seal that nobody kills failed")
    steps = int(os.read(reader, 20))
    sys.stdout.write(f"{steps}\n")
    for fraction in fractions:
        code = in_child(case, target, 1 + int(float(fraction) * steps), None)
        places = (target, part_of(target))
        there = [path.exists() for path in places]
        taken = sum(map(is_taken, places))
        sys.stdout.write(f"{code} {there[0]} {there[1]} {taken}\n")


def is_taken(path):
    """Whether verify calls a folder a sealed case, and finds nothing wrong."""
    try:
        return verify(path).level != "L0"
    except CaseError:
        return False


main(sys.argv[1], sys.argv[2], sys.argv[3:])
