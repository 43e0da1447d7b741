"""The published statistics as opponents: one model folder against another, on the same texts."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from auditor.controls.comparison.observed import Observed, mean_js, observe, shared_embeddings
from auditor.controls.comparison.opponent import MODELS, PeerResult, failures
from auditor.controls.comparison.published import biased_cka, embedding_gram, std_profile
from auditor.errors import AccessError, SubjectError, UndefinedError

VERSION = "published"
TEXTS = 200
"""As many statements as REEF reads."""
SUITE = "continuations@1"


def suite_texts(suite: str = SUITE, limit: int = TEXTS) -> tuple[str, ...]:
    """Return the first texts of a shipped suite."""
    from auditor.collect.suite import load_suite

    found = tuple(probe.text for probe in load_suite(suite).probes if probe.text)
    return found[:limit]


class PublishedStatistics:
    """Raw JSD, std profile, biased CKA and embedding Gram of a pair. They have no verdict."""

    def __init__(self, texts: Sequence[str] | None = None) -> None:
        """Read the texts; no model yet."""
        self._texts = tuple(suite_texts() if texts is None else texts)
        self._reference: tuple[Path, Observed] | None = None

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of its results, in order."""
        return tuple(_STATISTICS)

    def compare(self, suspect: Path, reference: Path) -> tuple[PeerResult, ...]:
        """Return one score a statistic, or why there is none. Time includes reading the suspect."""
        try:
            with MODELS:
                if self._reference is None or self._reference[0] != reference:
                    self._reference = (reference, observe(reference, self._texts))
                start = time.process_time()
                theirs = observe(suspect, self._texts)
                reading = time.process_time() - start
                return tuple(
                    _result(name, self._reference[1], theirs, reading) for name in _STATISTICS
                )
        except (SubjectError, AccessError) as error:
            return failures(self.readings, VERSION, error.message)

    def close(self) -> None:
        """Drop what was kept of the reference."""
        self._reference = None


def _result(name: str, ours: Observed, theirs: Observed, reading: float) -> PeerResult:
    start = time.process_time()
    try:
        score = _STATISTICS[name](ours, theirs)
    except UndefinedError as error:
        return failures((name,), VERSION, error.message)[0]
    seconds = reading + time.process_time() - start
    return PeerResult(reading=name, version=VERSION, score=score, seconds=seconds)


def _raw_jsd(a: Observed, b: Observed) -> float:
    return -mean_js(a, b)  # higher means closer


def _std_profile(a: Observed, b: Observed) -> float:
    if a.stds is None or b.stds is None:
        raise UndefinedError(a.missing or b.missing or "no attention projections")
    return std_profile(a.stds, b.stds)


def _biased_cka(a: Observed, b: Observed) -> float:
    return biased_cka(a.layer_states, b.layer_states)


def _embedding_gram(a: Observed, b: Observed) -> float:
    return embedding_gram(*shared_embeddings(a, b))


_STATISTICS: dict[str, Callable[[Observed, Observed], float]] = {
    "raw-jsd": _raw_jsd,
    "std-profile": _std_profile,
    "biased-cka": _biased_cka,
    "embedding-gram": _embedding_gram,
}
