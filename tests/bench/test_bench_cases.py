"""Every case on tiny shapes: ours agrees with float64, and the formulas of plain torch do too."""

import pytest
import torch

from auditor.bench import peers_torch
from auditor.bench.accuracy import error
from auditor.bench.catalogue import CASES, build, experiment_keys
from auditor.bench.experiment import OURS, Settings
from auditor.bench.running import findings
from auditor.kernels import agreement
from auditor.progress import Silent

SETTINGS = Settings(small=True, runs=1)
TOLERANCE = 1e-5


def no_memory(*arguments):
    return None, "not asked"


@pytest.mark.parametrize("case", CASES)
def test_ours_is_right_on_every_experiment(case):
    for finding in findings([case], SETTINGS, Silent(), no_memory):
        ran = [row for row in finding.rows if row.name.startswith(OURS) and row.status == "ok"]
        assert ran or finding.key == "sparse"
        for row in ran:
            assert row.errors, (finding.key, row.name)
            assert max(row.errors.values()) <= TOLERANCE, (finding.key, row.name, row.errors)
            assert sum(row.mismatches.values()) == 0, (finding.key, row.name)
        assert [r for r in finding.rows if r.status == "failed"] == []
        assert [b.bar.text for b in finding.bars if b.bar.accuracy and b.met is False] == []


@pytest.mark.parametrize("case", CASES)
def test_candidates_have_names_of_their_own_and_inputs_repeat(case):
    for key in experiment_keys(case):
        first, second = build(case, key, SETTINGS), build(case, key, SETTINGS)
        names = [candidate.name for candidate in first.candidates]
        assert len(names) == len(set(names))
        truth, again = first.truth(), second.truth()
        assert truth.keys() == again.keys()
        assert all(torch.equal(truth[name], again[name]) for name in truth)


def test_the_plain_formulas_are_the_references():
    # the truth of the bench and the package's float64 reference were written apart
    stream = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 101, generator=stream, dtype=torch.float64) for _ in range(2))
    tokens = torch.arange(6)
    plain = peers_torch.agreement_outputs(a, b, tokens, (1, 5))
    ours = agreement(a, b, tokens, topk=(1, 5), implementation="reference")
    assert len(plain) == 22
    for name, value in plain.items():
        assert error(value, getattr(ours, name)) < 1e-12, name


def test_the_loop_gives_the_unbiased_statistic():
    # x = {0, 1}, y = {0, 2}, bandwidth 1: by Gretton et al. 2012, eq. 3
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    k1, k2 = torch.tensor(-0.5).exp(), torch.tensor(-2.0).exp()
    across = (1 + k2 + k1 + k1) / 4
    found = peers_torch.permutation_loop(x, y, 3, 1.0)
    assert float(found["mmd2"]) == pytest.approx(float(k1 + k2 - 2 * across), abs=1e-6)
    assert float(found["p_value"]) in {0.25, 0.5, 0.75, 1.0}


def test_both_gram_forms_give_one_number():
    stream = torch.Generator().manual_seed(1)
    x, y = (torch.randn(20, 3, generator=stream, dtype=torch.float64) for _ in range(2))
    forms = [float(peers_torch.gram_cka(x, y, products=p)["cka"]) for p in (True, False)]
    assert forms[0] == pytest.approx(forms[1], rel=1e-12)
