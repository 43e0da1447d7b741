"""A model whose matrices are packed into integers, of which only embeddings and norms are read."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "registry"))

from registry_world import copied, packed

from auditor.collect.executors.memory import model_memory
from auditor.collect.tensors import _Compared
from auditor.errors import AccessError
from auditor.fingerprint.plan import Agreed, terms_of
from auditor.fingerprint.tensors import sketched_tensors
from auditor.models.weight_files import open_weights
from auditor.progress import Silent

REASON = "bytes are packed weights, which are not read"
REFERENCE = "tiny:teacher"


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The reference, whose projections are packed and drawn anew."""
    return f"local:{copied('teacher', tmp_path_factory.mktemp('packed') / 'model', packed(0))}"


def compared(*specs):
    subjects = [
        {
            "name": str(number),
            "spec": spec,
            "role": role,
            "digest": str(number),
            "family": str(number),
        }
        for number, (role, spec) in enumerate(zip(("reference", "suspect"), specs, strict=True))
    ]
    run = SimpleNamespace(plan={"subjects": subjects}, reference="0")
    return _Compared(run, "1")


def test_equal_embeddings_beside_packed_matrices_are_no_rederivation(half):
    # What can be read of it is the reference's to the bit; the projections may be anyone's.
    for pair in ((REFERENCE, half), (half, REFERENCE)):
        with pytest.raises(AccessError, match=REASON) as caught:
            compared(*pair)
        assert "unpack" in caught.value.hint


def test_a_small_mask_of_integers_is_no_packed_weight(tmp_path):
    mask = {"mask": np.zeros(4, dtype=np.int32)}
    masked = copied("teacher", tmp_path / "masked", lambda weights: {**weights, **mask})
    rows = compared(REFERENCE, f"local:{masked}").rederivation()
    assert max(row["elements_equal"] / row["elements"] for row in rows) == 1.0


def test_a_fingerprint_has_no_sketches_of_half_a_model(half):
    terms = terms_of(Agreed(suites=("ood",), probes=3, positions=4))
    whole = sketched_tensors(REFERENCE, terms, Silent())
    assert whole.rows
    assert not whole.missing
    part = sketched_tensors(half, terms, Silent())
    assert part.missing == {"tensors": "the weights cannot be read one by one"}
    assert part.sums is None


def test_packed_bytes_take_memory(half):
    weights = open_weights(half)
    read = sum(np.prod(shape) for shape in weights.shapes.values())
    assert weights.packed > 0
    more = model_memory(half, "float32", "cpu") - int(1.2 * 4 * read)
    assert more - model_memory("records:log.jsonl", None, "cpu") == pytest.approx(
        1.2 * weights.packed, abs=2
    )
