"""How a teacher of other tokens reads a student's sequence, on alignments made by hand."""

from typing import Any

import pytest
from cross_world import hand_tokenizer
from tokenizers import normalizers

from auditor.distill.aligned import AlignedRows
from auditor.distill.sequences import sequences
from auditor.distill.spans import SpanReader
from auditor.errors import VocabularyError

ROLES = {"bos_token": "<s>", "eos_token": "</s>"}
OTHER_ROLES = {"bos_token": "[start]", "eos_token": "[end]"}


def reader(**changes: Any) -> SpanReader:
    """A student that merges ab, a teacher that merges bc; ends named differently."""
    found: dict[str, Any] = {
        "student": hand_tokenizer("a b", specials=ROLES),
        "teacher": hand_tokenizer("b c", specials=OTHER_ROLES),
        **changes,
    }
    return SpanReader(**found)


def ids(tokenizer: Any, *parts: str) -> list[int]:
    """Ids of texts, and of the special tokens among them."""
    found: list[int] = []
    for part in parts:
        whole = tokenizer.convert_tokens_to_ids(part) if part in tokenizer.all_special_tokens else 0
        found += [whole] if whole else tokenizer(part, add_special_tokens=False)["input_ids"]
    return found


def test_spans_close_where_both_tokens_end() -> None:
    read = reader()
    # <s> ab c ab </s> against [start] a bc a b [end]: ends 2 3 5 and 1 3 4 5 meet at 3 and 5.
    tokens = ids(read.student, "<s>", "abcab", "</s>")
    assert len(tokens) == 5
    found = read.read(tokens, 1)
    assert found.tokens.tolist() == ids(read.teacher, "[start]", "abcab", "[end]")
    assert found.student.tolist() == [[1, 2], [3, 3], [4, 4]]
    assert found.teacher.tolist() == [[1, 2], [3, 4], [5, 5]]
    assert (found.text_bytes, found.covered) == (5, 4)


def test_a_teacher_without_the_start_in_the_sequence_reads_its_own() -> None:
    read = reader()
    found = read.read(ids(read.student, "abc"), 1)
    assert found.tokens[0] == read.teacher.bos_token_id
    # The span starts at the student's first token, which nobody predicts.
    assert found.student.tolist() == []
    after = read.read(ids(read.student, "cabc"), 1)
    assert (after.student.tolist(), after.teacher.tolist()) == ([[1, 2]], [[2, 3]])


def test_without_any_start_token_the_first_span_is_left_out() -> None:
    read = reader(teacher=hand_tokenizer("b c"))
    tokens = ids(read.student, "<s>", "cab")
    found = read.read(tokens, 1)
    assert found.tokens.tolist() == ids(read.teacher, "cab")
    assert found.student.tolist() == [[2, 2]]  # not c, which the teacher reads first


def test_prompts_are_read_and_only_whole_spans_of_targets_count() -> None:
    read = reader()
    tokens = ids(read.student, "<s>", "abcab")
    # ab | c is one span with a token of the prompt in it.
    found = read.read(tokens, 2)
    assert found.student.tolist() == [[3, 3]]
    assert len(found.tokens) == 5


def test_special_tokens_meet_by_role_and_by_text_and_others_are_not_shown() -> None:
    own = hand_tokenizer("a b", specials={**ROLES, "pad_token": "<sep>", "unk_token": "<odd>"})
    other = hand_tokenizer(specials={**OTHER_ROLES, "unk_token": "<sep>"})
    read = reader(student=own, teacher=other)
    partners = dict(read.counterparts)
    assert partners[own.pad_token_id] == other.unk_token_id
    assert own.unk_token_id not in partners
    found = read.read(ids(own, "<s>", "a", "<odd>", "a", "<sep>", "</s>"), 1)
    assert found.tokens.tolist() == ids(other, "[start]", "a", "a", "<sep>", "[end]")
    assert found.student.tolist() == [[1, 1], [3, 3], [4, 4], [5, 5]]


def test_text_that_looks_like_the_teachers_special_token_is_text() -> None:
    read = reader()
    found = read.read(ids(read.student, "<s>", "a[end]"), 1)
    assert len(found.tokens) == 7
    assert read.teacher.eos_token_id not in found.tokens


def test_cut_characters_at_the_ends_are_in_no_span() -> None:
    read = reader()
    euro = ids(read.student, "€")
    tokens = [*euro[1:], *ids(read.student, "x"), *euro[:2]]  # half a euro, x, half a euro
    found = read.read(tokens, 1)
    assert found.student.tolist() == [[2, 2]]
    assert found.tokens.tolist() == ids(read.teacher, "[start]", "x")
    nothing = read.read(euro[1:], 1)
    assert nothing.student.shape == (0, 2)
    assert nothing.text_bytes == 0


def test_a_teacher_that_changes_the_text_is_refused() -> None:
    other = hand_tokenizer("b c", specials=OTHER_ROLES)
    other.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(VocabularyError, match="do not spell the same bytes") as caught:
        reader(teacher=other).read(ids(reader().student, "<s>", "aB"), 1)
    assert "method sequence" in str(caught.value.hint)


def test_a_batch_says_where_its_spans_are() -> None:
    read = reader()
    rows = [ids(read.student, "<s>", "ab"), ids(read.student, "<s>", "xabcab")]
    store = sequences([(rows[0], 1, False), (rows[1], 2, False)])
    batch = AlignedRows(read, store, [0, 1]).batch([0, 1])
    start, a, b, bc, x = ids(read.teacher, "[start]", "a", "b", "bc", "x")
    # Inputs end one before the last token; the shorter line is padded.
    assert batch["teacher_input_ids"].tolist() == [[start, a, 0, 0, 0], [start, x, a, bc, a]]
    assert batch["teacher_attention_mask"].tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    # x is no target, so that no span holds it.
    scored = [[True, True, False, False, False], [False, True, True, True, True]]
    assert batch["teacher_scored"].tolist() == scored
    assert batch["teacher_targets"].tolist() == [a, b, a, bc, a, b]
    assert batch["teacher_spans"].tolist() == [0, 0, 1, 1, 2, 2]
    # Targets: ab | ab c ab.
    assert batch["student_spans"].tolist() == [0, 1, 1, 2]
    assert batch["span_starts"].tolist() == [[0, 0], [1, 2], [3, 4]]
    assert batch["span_bytes"].tolist() == [2, 5]


def test_coverage_counts_targets_and_starts() -> None:
    read = reader()
    store = sequences([(ids(read.student, "<s>", "xabcab"), 1, False)])
    rows = AlignedRows(read, store, [0])
    found = rows.coverage()
    # x | ab c | ab: 4 targets, all in spans, 3 of them where a span starts.
    assert (found["targets"], found["in_spans"], found["spans"]) == (4, 4, 3)
    assert found["share_at_starts"] == 0.75
    assert (found["text_bytes"], rows.longest) == (6, 5)
    assert (rows.covered(0), rows.starts(0)) == (4, 3)


def test_a_sequence_that_the_teacher_cannot_read_at_all_adds_no_span() -> None:
    read = reader(teacher=hand_tokenizer("b c"))
    half = ids(read.student, "é")[1]
    store = sequences([([half, half], 1, False)])
    batch = AlignedRows(read, store, [0]).batch([0])
    assert batch["teacher_input_ids"].tolist() == [[0]]
    assert not batch["teacher_scored"].any()
    assert batch["span_starts"].shape == (0, 2)
    assert batch["student_spans"].tolist() == [-1]
