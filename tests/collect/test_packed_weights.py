"""A model whose matrices are packed into integers, of which only embeddings and norms are read."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from auditor.collect.executors.memory import model_memory
from auditor.collect.tensors import _Compared
from auditor.errors import AccessError
from auditor.fingerprint.plan import Agreed, terms_of
from auditor.fingerprint.tensors import sketched_tensors
from auditor.models.weight_files import open_weights
from auditor.progress import Silent

REASON = r"bytes of .* are packed weights, which are not read"


def packed_copy(folder, target, mask=False):
    """Pack the projections of a model, or add a mask of integers; the other tensors are equal."""
    shutil.copytree(folder, target)
    path = target / "model.safetensors"
    tensors = load_file(path)
    if mask:
        tensors["mask"] = np.zeros(4, dtype=np.int32)
    for name in [] if mask else [name for name in tensors if "proj" in name]:
        rows = len(tensors.pop(name)) // 8
        tensors[name.replace(".weight", ".qweight")] = np.zeros((rows, 32), dtype=np.int32)
    save_file(tensors, path, metadata={"format": "pt"})
    return target


@pytest.fixture(scope="module")
def packed(models, tmp_path_factory):
    return packed_copy(models.reference, tmp_path_factory.mktemp("packed") / "model")


def compared(*folders):
    subjects = [
        {
            "name": str(number),
            "spec": f"local:{folder}",
            "role": role,
            "digest": str(number),
            "family": str(number),
        }
        for number, (role, folder) in enumerate(zip(("reference", "suspect"), folders, strict=True))
    ]
    run = SimpleNamespace(plan={"subjects": subjects}, reference="0")
    return _Compared(run, "1")


def test_equal_embeddings_beside_packed_matrices_are_no_rederivation(models, packed):
    # What can be read of it is the reference's to the bit; the projections may be anyone's.
    for pair in ((models.reference, packed), (packed, models.reference)):
        with pytest.raises(AccessError, match=REASON) as caught:
            compared(*pair)
        assert "unpack" in caught.value.hint


def test_a_small_mask_of_integers_is_no_packed_weight(models, tmp_path):
    masked = packed_copy(models.reference, tmp_path / "masked", mask=True)
    rows = compared(models.reference, masked).rederivation()
    assert max(row["elements_equal"] / row["elements"] for row in rows) == 1.0


def test_a_fingerprint_has_no_sketches_of_half_a_model(models, packed):
    terms = terms_of(Agreed(suites=("ood",), probes=3, positions=4))
    whole = sketched_tensors(f"local:{models.reference}", terms, Silent())
    assert whole.rows
    assert not whole.missing
    part = sketched_tensors(f"local:{packed}", terms, Silent())
    assert part.missing == {"tensors": "the weights cannot be read one by one"}
    assert part.sums is None


def test_packed_bytes_take_memory(packed):
    weights = open_weights(f"local:{packed}")
    read = sum(np.prod(shape) for shape in weights.shapes.values())
    assert weights.packed > 0
    more = model_memory(f"local:{packed}", "float32", "cpu") - int(1.2 * 4 * read)
    assert more - model_memory("records:log.jsonl", None, "cpu") == pytest.approx(
        1.2 * weights.packed, abs=2
    )
