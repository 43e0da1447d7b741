import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.outputs import POSITION, OutputSet, Pair
from auditor.types import Access, ModelRef, Probe, Score, frozen_array

MODEL = ModelRef(spec="tiny:x", access=Access.WEIGHTS)
PROBES = tuple(Probe(id=f"p{i}", category="c", text="t") for i in range(3))


def pair() -> Pair:
    positions = np.zeros(5, POSITION)
    positions["probe"] = [0, 0, 1, 2, 2]
    positions["kl_ab"] = [1, 2, 3, 4, 5]
    side = OutputSet(
        subject="a",
        model=MODEL,
        probes=PROBES,
        texts=(("x",), ("y",), ("z",)),
        embeddings=np.arange(6.0).reshape(3, 1, 2),
    )
    return Pair(reference=side, suspect=side, positions=positions)


def test_access_levels_are_ordered():
    assert Access.TEXT < Access.TOPK < Access.LOGITS < Access.WEIGHTS


def test_frozen_arrays_are_copies_that_refuse_writing():
    source = np.zeros(2)
    copy = frozen_array(source)
    source[0] = 1
    assert copy[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 2


def test_a_file_mapped_read_only_is_not_copied_and_one_mapped_for_writing_is(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6.0))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert frozen_array(mapped) is mapped
    rows = frozen_array(mapped.reshape(2, 3)[:, :2])
    assert np.shares_memory(rows, mapped)
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        rows.setflags(write=True)
    written = np.load(tmp_path / "x.npy", mmap_mode="r+")
    copy = frozen_array(written)
    written[0] = 9
    assert copy[0] == 0


def test_taking_all_probes_copies_nothing():
    whole = pair()
    taken = whole.take([0, 1, 2])
    assert taken.positions is whole.positions
    assert taken.reference.texts == whole.reference.texts


def test_scores_cannot_be_changed():
    score = Score(token_ids=[1], logprobs=[-1.0], byte_ends=[1], first_byte=0)
    with pytest.raises(ValueError, match="read-only"):
        score.logprobs[0] = 0


def test_taking_probes_reorders_texts_and_positions_alike():
    taken = pair().take([2, 0])
    assert taken.reference.texts == (("z",), ("x",))
    assert taken.reference.embeddings.tolist() == [[[4, 5]], [[0, 1]]]
    # Probe 2 became 0 and probe 0 became 1; probe 1 is gone.
    assert taken.positions["probe"].tolist() == [0, 0, 1, 1]
    assert taken.positions["kl_ab"].tolist() == [4, 5, 1, 2]


def test_a_missing_field_says_why():
    side = OutputSet(subject="a", model=MODEL, probes=PROBES)
    lacking = Pair(reference=side, suspect=side, why={"positions": "different vocabularies"})
    with pytest.raises(UndefinedError, match="different vocabularies"):
        lacking.require("positions")
    with pytest.raises(UndefinedError, match="no texts were collected"):
        lacking.require("texts")


def test_no_probe_is_undefined_and_not_zero():
    side = OutputSet(subject="a", model=MODEL, probes=(), texts=())
    with pytest.raises(UndefinedError, match="no probe"):
        Pair(reference=side, suspect=side).require("texts")
