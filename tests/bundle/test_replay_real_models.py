"""replay.py and the package agree on real cases: the demonstration, a fine-tune of a 135M model."""

import pytest
from replay_world import replay_module

from auditor.audit import audit
from auditor.bundle.keys import load_public_key
from auditor.bundle.verify import verify
from auditor.plan import AuditRequest
from auditor.progress import Silent
from auditor.types import Access, Decoding

replay = replay_module()
FINE_TUNE = """\
student: {from: smollm2}
data: {text: text.txt, holdout: 0.1}
method: {kind: baseline}
train: {steps: 4, batch_tokens: 512, lr: 5.0e-5, seed: 3}
"""


def assert_agrees(root, suspects: set[str]) -> None:
    """Fail where the second implementation finds anything else, or does not compute a line."""
    found = replay.replayed(root)
    assert [line for line in found["lines"] if line["outcome"] != "ok"] == []
    assert {line["suspect"] for line in found["lines"]} == suspects


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demonstration_student_replica_independent_and_siblings_student(tmp_path):
    from auditor.demo import demonstrate

    made = demonstrate(tmp_path / "demo", Silent())
    assert_agrees(made.sealed, {"distilled", "replica", "same-data-03", "sibling-logits-02"})
    found = verify(made.sealed, [load_public_key(made.public_key)], replay=True)
    assert [check.id for check in found.checks if check.outcome == "fail"] == []
    assert found.as_json()["level"] == "L4"
    # A repeated demonstration finds its work done, the seal too.
    manifest = (made.sealed / "manifest-sha256.txt").read_bytes()
    assert demonstrate(tmp_path / "demo", Silent()).sealed == made.sealed
    assert (made.sealed / "manifest-sha256.txt").read_bytes() == manifest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fine_tune_of_a_real_model(tmp_path):
    from auditor.distill.recipe import load_recipe
    from auditor.distill.run import distill

    lines = [f"The {n}th ship left the harbour with {n * 7} barrels of salt." for n in range(400)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    (tmp_path / "tuned.yaml").write_text(FINE_TUNE)
    distill(load_recipe(tmp_path / "tuned.yaml"), tmp_path / "tuned")
    request = AuditRequest(
        command="compare",
        reference="smollm2",
        suspects=(f"local:{tmp_path / 'tuned' / 'student'}",),
        controls=(),
        suites=("instructions",),
        access=Access.WEIGHTS,
        probes=24,
        decoding=Decoding(max_new_tokens=12),
        encoder=None,
    )
    case = audit(request, tmp_path / "case")
    (suspect,) = case.read_json("statistics.json")["suspects"]
    assert case.read_json("conclusion.json")["suspects"][suspect]["reading"] == "replication"
    assert_agrees(case.root, {suspect})
