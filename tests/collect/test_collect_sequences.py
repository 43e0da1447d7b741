"""Which positions of a text are scored."""

import numpy as np
import pytest
from collect_world import PROBES

from auditor.collect.sequences import (
    ForcedText,
    own_sequences,
    reference_sequences,
    reference_texts,
)
from auditor.models import open_model
from auditor.stored import planned_probes, read_records


def forced(ids, first):
    return ForcedText(0, np.array(ids, dtype=np.int32), first)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        # Prompt 7 8, reply 9 10: positions 1 and 2 predict the reply.
        (forced([7, 8, 9, 10], 1), [9, 10]),
        # A text to continue: all but its first token is predicted.
        (forced([7, 8, 9, 10], 0), [8, 9, 10]),
        # An empty reply: nothing to predict.
        (forced([7, 8], 1), []),
        # Cut inside the prompt.
        (forced([7, 8], 5), []),
    ],
)
def test_targets_are_the_tokens_after_the_scored_positions(text, targets):
    assert text.targets.tolist() == targets
    assert text.scored == len(targets)


def test_reference_sequences_are_prompt_and_first_reply(case):
    sequences = reference_sequences(case, "reference", None)
    records = [r for r in read_records(case, "reference") if r["repeat"] == 0]
    assert [text.probe for text in sequences] == list(range(PROBES))
    for text, record, probe in zip(sequences, records, planned_probes(case), strict=True):
        assert text.token_ids.tolist() == record["prompt_ids"] + record["token_ids"]
        if probe.kind == "chat":
            assert text.targets.tolist() == record["token_ids"]


def test_sequences_end_at_the_limit(case):
    limited = reference_sequences(case, "reference", 20)
    assert {len(text.token_ids) for text in limited} == {20}
    whole = reference_sequences(case, "reference", None)
    assert limited[0].token_ids.tolist() == whole[0].token_ids[:20].tolist()


def test_probes_that_the_reference_failed_on_have_no_sequence(case):
    # As its own reference, the recorded subject lacks the first probe and has no token ids.
    assert not list(reference_sequences(case, "recorded", None))


def test_own_sequences_score_the_bytes_of_the_reply(case, models):
    model = open_model(str(models.foreign), device="cpu")
    texts = list(reference_texts(model, case, "reference"))
    own = own_sequences(model, case, "reference", None)
    model.close()
    for text, sequence in zip(texts, own, strict=True):
        content = (text.prompt + text.reply).encode()[text.first_byte :]
        assert bytes(sequence.targets.astype(np.uint8)) == content
