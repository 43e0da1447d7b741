"""A locked and stamped plan, carried out, sealed and verified: the way of a whole case."""

import json

import pytest
from click.testing import CliRunner
from small_plan import write_plan
from verify_world import copied, edit_json, failed, rechained, resealed, rows_of

from auditor.bundle.keys import load_public_key, new_key
from auditor.bundle.timestamp import load_certificates
from auditor.bundle.verify import verify
from auditor.cli.main import cli


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
