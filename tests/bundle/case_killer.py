"""Does a stage of a case in children that die by SIGKILL, each at another moment, and goes on.

usage: case_killer.py PLAN.json FOLDER STAGE COUNT SEED ; STAGE is collect, measure or judge.

Prints one JSON object a line: first of the run that nobody kills, then of each of COUNT cases that
were killed once or twice and then finished. The models are loaded once, before forking; run it with
OMP_NUM_THREADS=1, so that no thread pool is inherited.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import auditor.models
import auditor.models.encoder
from auditor.audit import collect, existing_case, judge_case
from auditor.bundle.verify import verify
from auditor.canon import directory_digests
from auditor.case import Case, locked, open_case
from auditor.collect.store import Appender
from auditor.errors import CaseError
from auditor.measuring import measure_case
from auditor.progress import Silent
from auditor.sealing import seal_case

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
EVENTS += ("shutil.copyfile", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STAGES = {
    "collect": lambda case: collect(case, Silent()),
    "measure": lambda case: measure_case(case, Silent()),
    "judge": judge_case,
}


class Steps:
    """Counts what is done to the files of one case, and may end the process before a step."""

    def __init__(self, root: Path, last: int | None) -> None:
        self._root, self._last = str(root), last
        self.kinds: list[str] = []

    def watch(self) -> None:
        """Count from now on; for good, so in a child only."""
        sys.addaudithook(self._event)
        flush, write = os.fsync, Appender.write

        def counted_flush(handle):
            self.step("flush")
            flush(handle)

        def torn_write(file, content, at=None, *, flush=True):
            # The part that a kill lets through, where it comes in the middle of a write.
            part = bytes(content)[: len(content) // 2]
            self.step("write", lambda: write(file, part, at, flush=False))
            write(file, content, at, flush=flush)

        os.fsync, Appender.write = counted_flush, torn_write

    def _event(self, event, arguments):
        if event not in EVENTS or (event == "open" and not arguments[2] & WRITES):
            return
        if any(str(one).startswith(self._root) for one in arguments[:2]):
            self.step(
                "records" if event == "os.rename" and "/records/" in str(arguments) else event
            )

    def step(self, kind, before_death=lambda: None):
        """Count a step, or die before it."""
        self.kinds.append(kind)
        if len(self.kinds) == self._last:
            self._last = None
            before_death()
            os.kill(os.getpid(), signal.SIGKILL)


def do_stage(root: Path, plan: dict, stage: str, last: int | None, told: int) -> None:
    """Do a stage in this process, and end it; write the kinds of its steps to `told`."""
    code = 1
    try:
        steps = Steps(root, last)
        steps.watch()
        case = open_case(root, plan)
        with locked(case):
            STAGES[stage](case)
        os.write(told, json.dumps(steps.kinds).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def in_child(root, plan, stage, *, last=None, after=None):
    """Return the exit code of a child that does a stage, and the kinds of its steps.

    Args:
        root: of the case.
        plan: of the case.
        stage: name.
        last: the step before which it dies; None for none.
        after: seconds after which it is killed; None for never.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        do_stage(root, plan, stage, last, writer)
    os.close(writer)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(told) if code == 0 else []


def recorded_lines(root: Path) -> dict[str, list[bytes]]:
    """Return the whole lines of every chained file, finished or not."""
    found = {}
    for path in [*root.glob("data/records/*/*"), root / "data" / "custody.jsonl"]:
        content = path.read_bytes() if path.is_file() else b""
        name = path.relative_to(root).as_posix().removesuffix(".part")
        found[name] = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    return found


def lost_lines(before: dict[str, list[bytes]], after: dict[str, list[bytes]]) -> list[str]:
    """Return the files whose lines do not go on from where they were."""
    return [name for name in before if after.get(name, [])[: len(before[name])] != before[name]]


def passes(root: Path) -> list[str]:
    """Return which of seal and verify took a case that a kill left."""
    taken = []
    for name, act in (
        ("seal", lambda: seal_case(existing_case(root))),
        ("verify", lambda: verify(root)),
    ):
        try:
            act()
            taken.append(name)
        except CaseError:
            pass
    shutil.rmtree(root.with_name(f"{root.name}.evidence"), ignore_errors=True)
    return taken


def logged(root: Path) -> list[str]:
    """Return what the custody log says that was recorded and collected, each once."""
    lines = (root / "data" / "custody.jsonl").read_bytes().splitlines()
    said = ("event", "file", "lines", "last", "name", "digest")
    rows = [{key: row[key] for key in said if key in row} for row in map(json.loads, lines)]
    wanted = ("records", "collected")
    return sorted({json.dumps(row) for row in rows if row["event"] in wanted})


def content(root: Path) -> dict[str, str]:
    """Return the digests of what is the same in every run: all but the times."""
    found = directory_digests(root / "data")
    found.pop("custody.jsonl", None)
    return found


def sealed_level(root: Path) -> tuple[str, list[str]]:
    """Measure, judge, seal and verify a finished case: its level and the checks that fail."""
    case = Case(root)
    measure_case(case, Silent())
    judge_case(case)
    target = seal_case(case).root
    found = verify(target)
    shutil.rmtree(target)
    return found.level, [check.id for check in found.checks if check.outcome == "fail"]


def preload(plan: dict) -> None:
    """Load the models of a plan; opening one later gives the loaded one."""
    loaded = {
        subject["spec"]: auditor.models.open_model(
            subject["spec"], device="cpu", batch_tokens=plan["batch_tokens"]
        )
        for subject in plan["subjects"]
    }
    auditor.models.open_model = lambda spec, **_: loaded[spec]
    encoder = auditor.models.encoder.open_encoder(plan["encoder"])
    encoder.embed(["once"])
    auditor.models.encoder.open_encoder = lambda _: encoder


def moments(kinds: list[str], seconds: float, count: int, luck: random.Random) -> list[dict]:
    """Return random moments of a run: before any step, after a new name, in a write, by clock.

    Of a collection the first two are those in which the most was once lost: after a record file
    has its name, and in the first line of the custody log.
    """
    any_step = range(1, len(kinds) + 1)
    named = [i + 2 for i, kind in enumerate(kinds[:-1]) if kind in ("os.rename", "records")]
    torn = [i + 1 for i, kind in enumerate(kinds) if kind == "write"] or any_step
    found = []
    if "records" in kinds:
        found = [{"last": kinds.index("records") + 2}, {"last": kinds.index("write") + 1}]
    for number in range(len(found), count):
        clock = {"after": luck.uniform(0, seconds)}
        steps = [any_step, named or any_step, torn, any_step]
        found.append(clock if number % 5 == 4 else {"last": luck.choice(steps[number % 5])})
    return found


def killed(start, root, plan, stage, deaths, whole) -> dict:
    """Return what became of one case that died so, and was then finished."""
    if start.is_dir():
        shutil.copytree(start, root)
    codes, lost, taken, before = [], [], [], recorded_lines(root)
    for death in deaths:
        codes.append(in_child(root, plan, stage, **death)[0])
        there = recorded_lines(root)
        lost += lost_lines(before, there)
        before = there
        if content_of_stage(root, stage, whole) is None:
            taken += passes(root)
    codes.append(in_child(root, plan, stage)[0])
    lost += lost_lines(before, recorded_lines(root))
    found = content(root)
    return {
        "deaths": deaths,
        "codes": codes,
        "lost": lost,
        "taken": taken,
        "other": sorted(name for name in {*found, *whole} if found.get(name) != whole.get(name)),
        "logged": logged(root),
    }


def content_of_stage(root: Path, stage: str, whole: dict) -> dict | None:
    """Return the content where it is that of the finished stage already, else None."""
    last = {"collect": "errors.jsonl", "measure": "statistics.json", "judge": "conclusion.json"}
    if not (root / "data" / last[stage]).is_file() or not (root / "data/custody.jsonl").is_file():
        return None
    return whole if content(root) == whole else None


def main(plan_file: str, folder: str, stage: str, count: str, seed: str) -> None:
    """Do the stage whole, then COUNT times with deaths."""
    plan, place, luck = (
        json.loads(Path(plan_file).read_text()),
        Path(folder),
        random.Random(int(seed)),
    )
    preload(plan)
    start, root = place / "start", place / "whole"
    for done in ("collect", "measure")[: list(STAGES).index(stage)]:
        assert in_child(start, plan, done)[0] == 0
    if start.is_dir():
        shutil.copytree(start, root)
    began = time.monotonic()
    code, kinds = in_child(root, plan, stage)
    seconds, whole = time.monotonic() - began, content(root)
    said = logged(root)
    report = {"codes": [code], "steps": len(kinds), "logged": said, "level": sealed_level(root)}
    sys.stdout.write(json.dumps(report) + "\n")
    for number, first in enumerate(moments(kinds, seconds, int(count), luck)):
        again = [{"last": luck.randint(1, len(kinds))}] if number % 3 == 0 else []
        case = place / f"case{number}"
        found = killed(start, case, plan, stage, [first, *again], whole)
        found["logged"] = found["logged"] == said
        if number < 2 or number % 5 == 0:
            found["level"] = sealed_level(case)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        shutil.rmtree(case)


if __name__ == "__main__":
    main(*sys.argv[1:])
