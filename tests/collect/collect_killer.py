"""Collect a case in child processes, each of which dies by SIGKILL at another moment.

Run as a program: CASE PLAN.json SEED. Prints how many children died before one lived to the end.
The models are loaded once, before forking; run it with OMP_NUM_THREADS=1, so that no thread pool
is inherited.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import auditor.models
from auditor.case import open_case
from auditor.collect.run import collect_case
from auditor.progress import Silent


def die_at_flush(count: int) -> None:
    """Kill this process at its `count`-th flush to the disk."""
    real, left = os.fsync, [count]

    def counted(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = counted


def child(root: Path, plan: dict, flushes: int | None) -> None:
    """Collect in this process, and end it."""
    code = 1
    try:
        if flushes is not None:
            die_at_flush(flushes)
        collect_case(open_case(root, plan), Silent())
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def preload(plan: dict) -> None:
    """Load the models of a plan; opening one later gives the loaded one."""
    loaded = {
        subject["spec"]: auditor.models.open_model(
            subject["spec"], device="cpu", batch_tokens=plan["batch_tokens"]
        )
        for subject in plan["subjects"]
    }
    auditor.models.open_model = lambda spec, **_: loaded[spec]


def main() -> None:
    """Fork, kill, repeat."""
    root, plan = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    luck = random.Random(int(sys.argv[3]))
    preload(plan)
    for deaths in range(200):
        by_clock = deaths % 2 == 0
        pid = os.fork()
        if pid == 0:
            child(root, plan, None if by_clock else luck.randint(4, 30))
        if by_clock:
            # Later and later, so that a slow machine gets through as well.
            time.sleep(luck.uniform(0.01, 0.3 + deaths / 10))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                sys.exit(f"a child failed after {deaths} deaths")
            sys.stdout.write(f"{deaths}\n")
            return
    sys.exit("no child lived to the end")


if __name__ == "__main__":
    main()
