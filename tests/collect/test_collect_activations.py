"""Which positions are taken, and that what is kept is what the model computed there."""

import numpy as np
import pytest
import torch
from weights_world import NEURONS, llama

from auditor.case import Case
from auditor.collect.activations import NeuronActivations, chosen_positions
from auditor.collect.sequences import ForcedText
from auditor.errors import CaseError
from auditor.models.forward import final_states
from auditor.models.projections import mlps_of


def text(probe, length, first):
    ids = np.random.RandomState(probe).randint(0, 96, size=length).astype(np.int32)
    return ForcedText(probe, ids, first)


def test_every_text_gives_the_same_number_or_all_that_it_has():
    texts = [text(0, 30, 9), text(1, 5, 2), text(2, 40, 0), text(3, 4, 3)]  # 20, 2, 39, 0 scored
    found = chosen_positions(texts, limit=20)
    assert {probe: len(places) for probe, places in found.items()} == {0: 9, 1: 2, 2: 9}
    for one in texts[:3]:
        places = found[one.probe]
        assert len(set(places.tolist())) == len(places)
        assert all(one.first <= place < one.first + one.scored for place in places.tolist())
    assert found[2].tolist() == [0, 5, 10, 14, 19, 24, 28, 33, 38]  # 38 / 8 = 4.75 apart


@pytest.mark.parametrize(("limit", "total"), [(61, 61), (7, 7), (1000, 61)])
def test_no_more_positions_than_asked_for_or_than_there_are(limit, total):
    texts = [text(0, 30, 9), text(1, 5, 2), text(2, 40, 0)]
    assert sum(len(places) for places in chosen_positions(texts, limit).values()) == total


def test_kept_rows_are_the_projections_at_the_chosen_positions(tmp_path):
    module, batch = llama(0), [text(0, 9, 3), text(1, 5, 0), text(2, 5, 4)]
    tap = NeuronActivations(Case(tmp_path), "subject", batch, mlps_of(module))
    with tap.writer, tap.watching(batch):
        final_states(module, [one.token_ids.tolist() for one in batch])
    found = tap.rows(None, 0)
    expected = []
    for one in batch:
        seen = {}
        mlp = module.model.layers[1].mlp
        handles = [
            layer.register_forward_hook(
                lambda _l, _i, out, name=name, seen=seen: seen.update({name: out[0]})
            )
            for name, layer in (("gate", mlp.gate_proj), ("up", mlp.up_proj))
        ]
        with torch.inference_mode():
            module(input_ids=torch.from_numpy(one.token_ids[None].astype(np.int64)))
        for handle in handles:
            handle.remove()
        expected.append(torch.cat([seen["gate"], seen["up"]], dim=1)[one.first : -1])
    # The second layer: gate, then up.
    np.testing.assert_allclose(found[:, 2 * NEURONS :], torch.cat(expected).numpy(), atol=1e-5)
    assert found.shape == (5 + 4 + 0, 4 * NEURONS)


def test_other_batches_than_planned_are_refused(tmp_path):
    module, batch = llama(0), [text(0, 9, 3), text(1, 5, 0)]
    tap = NeuronActivations(Case(tmp_path), "subject", batch, mlps_of(module))
    with (
        tap.writer,
        pytest.raises(CaseError, match="other batches than planned"),
        tap.watching(batch),
    ):
        final_states(module, [batch[0].token_ids.tolist()])
    with (
        tap.writer,
        pytest.raises(CaseError, match="other batches than planned"),
        tap.watching(batch),
    ):
        pass  # nothing ran
    assert not module.model.layers[0].mlp.up_proj._forward_hooks
