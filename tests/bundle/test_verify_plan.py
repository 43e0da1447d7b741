"""A locked and stamped plan, carried out, sealed and verified: the way of a whole case."""

import json
import shutil

import pytest
from click.testing import CliRunner
from small_plan import write_plan
from verify_world import copied, edit_json, failed, rechained, resealed, rows_of

from auditor.bundle.check import Check, guarded
from auditor.bundle.check_plan import check_plan
from auditor.bundle.keys import load_public_key, new_key
from auditor.bundle.timestamp import load_certificates
from auditor.bundle.verify import verify
from auditor.canon import json_digest
from auditor.case import Case
from auditor.cli.main import cli
from auditor.report.render import write_reports


def run(*words) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value in (None, 0)
    return done.stdout


@pytest.fixture(scope="module")
def carried(tmp_path_factory, authority):
    """Return the folder of a plan that was locked, stamped, carried out and sealed; and its key."""
    folder = tmp_path_factory.mktemp("planned")
    write_plan(folder)
    key = new_key(folder)
    run("plan", "lock", folder / "plan.yaml")
    run("timestamp", "request", folder / "plan.lock.json", "--out", folder / "plan.tsq")
    response = authority.answer(folder / "plan.tsq", folder / "answer.tsr")
    run("audit", folder / "plan.yaml", "--out", folder / "case")
    run("seal", folder / "case", "--key", key.private, "--plan-tsr", response)
    return folder, key


def test_a_plan_stamped_before_the_collection_is_trusted_below_its_root(carried, authority):
    folder, key = carried
    found = verify(
        folder / "case.evidence",
        [load_public_key(key.public)],
        roots=load_certificates(authority.certificate),
    )
    assert [check.id for check in found.checks if check.outcome == "fail"] == []
    assert found.level == "L3"
    (times,) = (check for check in found.checks if check.id == "V06")
    assert any("plan.tsr" in line for line in times.details)


def test_a_plan_stamped_after_the_collection_had_begun_is_found(carried, tmp_path):
    folder, _ = carried
    root = copied(folder / "case.evidence", tmp_path / "case")
    path = root / "data/custody.jsonl"
    first, *rest = rows_of(path)
    path.write_bytes(rechained([{**first, "time": "2020-01-01T00:00:00+00:00"}, *rest]))
    resealed(root)
    (times,) = (check for check in verify(root).checks if check.id == "V06")
    assert "after the collection had begun" in times.details[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["declared"]["lock"].update(digest="sha256:" + "0" * 64),
        lambda plan: plan["declared"].update(lock=None),
        lambda plan: plan.update(seed=plan["seed"] + 1),
    ],
    ids=["lock edited", "lock removed", "seed changed after the lock"],
)
def test_a_plan_that_is_not_the_locked_one_is_found(carried, tmp_path, change):
    folder, _ = carried
    root = copied(folder / "case.evidence", tmp_path / "case")
    edit_json(root, "plan.json", change)
    resealed(root)
    assert {"V06", "V09"} & failed(root)


def test_an_audit_with_a_key_seals_and_a_repeat_finds_the_seal_and_signs_it(carried, tmp_path):
    folder, key = carried
    out = tmp_path / "again"
    (tmp_path / "plan.yaml").write_text((folder / "plan.yaml").read_text())
    command = ["audit", tmp_path / "plan.yaml", "--out", out, "--key", key.private, "--json"]
    sealed = json.loads(run(*command))["sealed"]
    assert sealed == str(out.with_name("again.evidence"))
    manifest = (out.with_name("again.evidence") / "manifest-sha256.txt").read_bytes()
    # As if it had been killed between the seal and the signature.
    (out.with_name("again.evidence") / "signatures" / "examiner.sigstore.json").unlink()
    assert json.loads(run(*command))["sealed"] == sealed
    assert (out.with_name("again.evidence") / "manifest-sha256.txt").read_bytes() == manifest
    assert failed(out.with_name("again.evidence"), key.public) == set()


def v09(root) -> Check:
    return guarded("V09", lambda: check_plan(Case(root)))


def _deviations(change):
    def apply(root):
        edit_json(root, "deviations.json", lambda content: change(content["deviations"]))

    return apply


def _added(kind):
    one = {"kind": kind, "what": "x", "planned": None, "found": None, "reason": None}
    return lambda rows: rows.append(one)


def _plan(change):
    return lambda root: edit_json(root, "plan.json", change)


def _declared(change):
    return _plan(lambda plan: change(plan["declared"]))


def _relocked(change):
    """Change the locked content and compute its digest anew."""

    def apply(declared):
        content = {key: one for key, one in declared["lock"].items() if key != "digest"}
        change(content)
        declared["lock"] = {**content, "digest": json_digest(content)}

    return _declared(apply)


def _records(change):
    def apply(root):
        path = root / "data/records/independent/ood@1.jsonl"
        path.write_bytes(rechained([change(row) for row in rows_of(path)]))

    return apply


def _seeded(row):
    request = {**row["request"], "seed": 7}
    return {**row, "request": request, "request_digest": json_digest(request)}


DEPARTED = {
    "a deviation invented": (_deviations(_added("probes")), "lists a deviation that the files do"),
    "a lock of other probes": (
        _relocked(lambda lock: lock["suites"]["ood@1"].update(selection="sha256:" + "0" * 64)),
        "suites.ood@1.selection is not as it was locked",
    ),
    "a lock of another model": (
        _relocked(lambda lock: lock["subjects"]["independent"].update(digest=None)),
        "subjects.independent.digest is not as it was locked",
    ),
    "a lock of other rules": (
        _relocked(lambda lock: lock["rules"].update(no_link_p=0.5)),
        "rules.no_link_p is not as it was locked",
    ),
    "a lock of another seed": (
        _relocked(lambda lock: lock["plan"].update(seed=4)),
        "plan.seed is not as it was locked",
    ),
    "another seed than declared": (
        _plan(lambda plan: plan.update(seed=4)),
        "seed is not what the declared plan asks for",
    ),
    "more repeats than declared": (
        _plan(lambda plan: plan.update(repeats=2)),
        "repeats is not what the declared plan asks for",
    ),
    "another decoding than declared": (
        _plan(lambda plan: plan["decoding"].update(temperature=0.5)),
        "decoding is not what the declared plan asks for",
    ),
    "a difference accepted that is none": (
        _declared(
            lambda one: one.update(
                accepted={
                    "reason": "r",
                    "differs": [{"key": "plan.seed", "planned": 0, "found": 0}],
                }
            )
        ),
        "plan.seed was accepted as another difference",
    ),
    "replies drawn with another seed": (
        _records(_seeded),
        "was drawn with another seed than planned",
    ),
    "sums of a suite removed": (
        lambda root: (root / "data/probes/ood@1/SHA256SUMS").unlink(),
        "cannot be read as the format says",
    ),
    "a deviation not shown": (
        _deviations(lambda rows: rows[0].update(what="another story")),
        "does not show the deviation: another story",
    ),
}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Return a sealed case that was not locked and has too few probes, both stated; and its key."""
    folder = tmp_path_factory.mktemp("short")
    items = [{"id": f"own-{n}", "category": "own", "text": f"Once there were {n}"} for n in (1, 2)]
    (folder / "own.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    path = write_plan(folder, suites=["own.jsonl"], measures=["text-chrf"])
    key = new_key(folder)
    run("audit", path, "--out", folder / "case", "--key", key.private)
    return folder / "case.evidence", key.public


@pytest.mark.parametrize("way", DEPARTED)
def test_what_departs_from_the_lock_unstated_is_found(carried, short, tmp_path, way):
    change, words = DEPARTED[way]
    source = short[0] if way == "a deviation not shown" else carried[0] / "case.evidence"
    root = copied(source, tmp_path / "case")
    assert v09(root).outcome == "pass"
    change(root)
    found = v09(root)
    assert found.outcome == "fail"
    assert any(words in detail for detail in found.details), found.details


def test_stated_deviations_are_named_and_fail_nothing(short):
    root, public = short
    found = verify(root, [load_public_key(public)])
    assert found.failed == []
    (plan,) = (check for check in found.checks if check.id == "V09")
    assert [line.split(":")[0] for line in plan.details] == ["deviation, stated in the report"] * 2
    assert "not locked" in plan.details[0]
    assert "fewer probes than planned" in plan.details[1]


@pytest.mark.parametrize("number", [0, 1])
def test_a_deviation_that_is_left_out_everywhere_is_code_4(short, tmp_path, number):
    root = copied(short[0], tmp_path / "case")
    edit_json(root, "deviations.json", lambda content: content["deviations"].pop(number))
    write_reports(Case(root))
    resealed(root)
    shutil.rmtree(root / "signatures")
    found = verify(root)
    assert found.failed == ["V09"]
    assert found.level == "L0"
    (plan,) = (check for check in found.checks if check.id == "V09")
    assert "deviations.json does not list: " in plan.details[0]
    done = CliRunner().invoke(cli, ["verify", str(root)], standalone_mode=False)
    assert done.return_value == 4


def test_a_failure_beside_that_of_the_plan_is_code_5(short, tmp_path):
    root = copied(short[0], tmp_path / "case")
    edit_json(root, "deviations.json", lambda content: content["deviations"].pop())
    done = CliRunner().invoke(cli, ["verify", str(root)], standalone_mode=False)
    assert done.return_value == 5


def test_the_file_of_a_bare_suite_is_the_planned_one(short, tmp_path):
    root = copied(short[0], tmp_path / "case")
    path = root / "data/probes/own@0/own.jsonl"
    path.write_text(path.read_text() + "\n")
    assert "data/probes/own@0 is not the suite of the planned digest" in v09(root).details
