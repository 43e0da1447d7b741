import pytest
import torch

from auditor.controls.transforms import quantise, reinitialise
from auditor.errors import CaseError, InputError
from auditor.models.loading import load_transformers

SOURCE = "tiny:teacher"


def weights(spec):
    module = load_transformers(str(spec)).module
    return {name: value.detach() for name, value in module.named_parameters()}


def test_eight_bit_copies_are_within_half_a_step_of_their_source(tmp_path):
    before, after = weights(SOURCE), weights(quantise(SOURCE, tmp_path / "q"))
    assert before.keys() == after.keys()
    changed = 0
    for name, source in before.items():
        if source.ndim == 2:
            # Rounding to the nearest of 2 x 127 steps a row: at most half a step away.
            step = source.abs().amax(dim=1, keepdim=True) / 127
            assert bool(((after[name] - source).abs() <= 0.5001 * step).all())
            changed += int((after[name] != source).sum())
        else:
            assert torch.equal(after[name], source)
    assert changed > 0


def test_the_largest_weight_of_a_row_survives_rounding(tmp_path):
    before, after = weights(SOURCE), weights(quantise(SOURCE, tmp_path / "q", bits=4))
    name = next(name for name, value in before.items() if value.ndim == 2)
    row = before[name][0]
    peak = int(row.abs().argmax())
    assert float(after[name][0, peak]) == pytest.approx(float(row[peak]), rel=1e-6)
    # 4 bits: at most 15 distinct values a row.
    assert len(after[name][0].unique()) <= 15


def test_a_reinitialised_model_has_the_shape_and_none_of_the_matrices(tmp_path):
    before, after = weights(SOURCE), weights(reinitialise(SOURCE, tmp_path / "r", seed=3))
    again = weights(reinitialise(SOURCE, tmp_path / "s", seed=3))
    for name, source in before.items():
        assert after[name].shape == source.shape
        assert torch.equal(after[name], again[name])
        if source.ndim == 2:
            correlation = torch.corrcoef(torch.stack([source.flatten(), after[name].flatten()]))
            # sd of a correlation of independent values is 1/sqrt(n) <= 0.011 for n >= 8,000.
            assert abs(float(correlation[0, 1])) < 0.06


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "keep").write_text("x")
    with pytest.raises(CaseError, match="not empty"):
        quantise(SOURCE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


def test_absurd_bit_widths_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"outside 2\.\.16"):
        quantise(SOURCE, tmp_path / "q", bits=1)
