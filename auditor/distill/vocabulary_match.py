"""Which tokens of two vocabularies are the same bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from auditor.errors import InputError
from auditor.models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from auditor.kernels.cross_vocabulary import Categories


def match_tokens(
    student: Vocabulary, teacher: Vocabulary, *, paired: Sequence[tuple[int, int]] = ()
) -> "Categories":
    """Return the common alphabet of two vocabularies: a category for all bytes that both have.

    Ids of equal bytes share a category, also where one side has several of them. All other text
    tokens of a side are its OTHER category. Special tokens, and ids without bytes, are left out of
    the distributions on both sides, unless `paired` names them.

    Args:
        student: id -> bytes map.
        teacher: id -> bytes map.
        paired: (student id, teacher id) of special tokens of one meaning, such as the ends of a
            reply; each pair is a category of its own.

    Raises:
        InputError: a pair names an id that is not special, or one twice.
        VocabularyError: as `Categories`.
    """
    import torch

    from auditor.kernels.cross_vocabulary import EXCLUDED, Categories

    _check_pairs(paired, student, teacher)
    common = sorted(_texts(student) & _texts(teacher))
    numbers = {piece: number for number, piece in enumerate(common)}
    count = len(common) + len(paired)
    tables = []
    for side, vocabulary in enumerate((student, teacher)):
        table = [
            EXCLUDED if not piece or i in vocabulary.special else numbers.get(piece, count)
            for i, piece in enumerate(vocabulary.pieces)
        ]
        for number, pair in enumerate(paired, start=len(common)):
            table[pair[side]] = number
        tables.append(torch.tensor(table, dtype=torch.int64))
    return Categories(student=tables[0], teacher=tables[1], matched=count)


def _texts(vocabulary: Vocabulary) -> set[bytes]:
    return {
        piece
        for index, piece in enumerate(vocabulary.pieces)
        if piece and index not in vocabulary.special
    }


def _check_pairs(
    paired: Sequence[tuple[int, int]], student: Vocabulary, teacher: Vocabulary
) -> None:
    for side, (name, vocabulary) in enumerate((("student", student), ("teacher", teacher))):
        ids = [pair[side] for pair in paired]
        wrong = [index for index in ids if index not in vocabulary.special]
        if wrong or len(set(ids)) < len(ids):
            raise InputError(
                f"the paired ids {ids} of the {name} are not different special tokens",
                hint="pair each special token once; text tokens are matched by their bytes",
            )
