"""The shipped suites: counts, languages, licences, unique ids, digests, and no near duplicates."""

import itertools
import re
import shutil
import subprocess
from collections import Counter

import pytest

from auditor.answers import expected_answer, is_correct
from auditor.collect.suite import DEFAULT_SUITES, lint_root, list_suites, load_suite, suite_path
from auditor.collect.suite_items import normalised_input
from auditor.collect.suite_release import released
from auditor.data import data_dir
from auditor.types import ProbeSuite

LEAST = {
    "borderline": 60,
    "choices": 60,
    "confabulation": 100,
    "continuations": 200,
    "formatting": 80,
    "identity": 20,
    "instructions": 120,
    "multilingual": 80,
    "ood": 100,
    "reasoning": 100,
}
SUITES = list_suites()


def by_name(suite: ProbeSuite) -> str:
    return suite.id


def test_the_ten_suites_are_there_and_large_enough() -> None:
    counts = {name: len(load_suite(name).probes) for name in LEAST}
    assert {name for name, count in counts.items() if count < LEAST[name]} == set()
    assert {s.name for s in SUITES} == set(LEAST)


def test_all_suites_pass_the_lint() -> None:
    assert lint_root(data_dir("probes")) == []


def test_every_suite_is_released_with_its_digest() -> None:
    assert released(data_dir("probes")) == {s.id: s.digest for s in SUITES}


@pytest.mark.parametrize("suite", SUITES, ids=by_name)
def test_sha256sum_agrees(suite: ProbeSuite) -> None:
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("no sha256sum on this machine")
    done = subprocess.run(
        [tool, "--check", "--strict", "SHA256SUMS"], cwd=suite_path(suite.id), capture_output=True
    )
    assert done.returncode == 0, done.stderr


def test_ids_are_unique_over_all_suites() -> None:
    counts = Counter(p.id for s in SUITES for p in s.probes)
    assert [i for i, n in counts.items() if n > 1] == []


@pytest.mark.parametrize("suite", SUITES, ids=by_name)
def test_ids_share_a_prefix_and_count_up(suite: ProbeSuite) -> None:
    prefixes, tails = zip(*(p.id.rsplit("-", 1) for p in suite.probes), strict=True)
    assert len(set(prefixes)) == 1
    assert list(tails) == [f"{i:04d}" for i in range(1, len(tails) + 1)]


def test_all_suites_are_public_domain() -> None:
    assert {s.licence for s in SUITES} == {"CC0-1.0"}
    notice = (data_dir("probes") / "LICENSE").read_text()
    assert "SPDX-License-Identifier: CC0-1.0" in notice


def test_no_two_probes_of_all_suites_are_equal_but_for_form() -> None:
    seen = Counter(normalised_input(p) for s in SUITES for p in s.probes)
    assert [text for text, n in seen.items() if n > 1] == []


@pytest.mark.parametrize("name", sorted(set(LEAST) - {"formatting", "ood", "reasoning", "choices"}))
def test_hand_written_probes_are_not_variants_of_each_other(name: str) -> None:
    # Not `formatting`: there the same request in another register or length is the point.
    grams = {p.id: five_grams(normalised_input(p)) for p in load_suite(name).probes}
    close = [
        (a, b)
        for a, b in itertools.combinations(grams, 2)
        if len(grams[a] & grams[b]) > 0.5 * len(grams[a] | grams[b])
    ]
    assert close == []


def five_grams(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def test_multilingual_has_at_least_ten_probes_in_eight_languages() -> None:
    counts = Counter(p.language for p in load_suite("multilingual").probes)
    assert len(counts) >= 8
    assert min(counts.values()) >= 10


SCRIPTS = {
    "ar": r"[\u0600-\u06ff]",
    "hi": r"[\u0900-\u097f]",
    "ja": r"[\u3040-\u30ff]",
    "ru": r"[\u0400-\u04ff]",
    "zh": r"[\u4e00-\u9fff]",
}


@pytest.mark.parametrize("name", ["multilingual", "choices"])
def test_the_language_tag_fits_the_script(name: str) -> None:
    for probe in load_suite(name).probes:
        found = {tag for tag, s in SCRIPTS.items() if re.search(s, probe.messages[0].content)}
        expected = {"zh", "ja"} if probe.language == "ja" else {probe.language} & set(SCRIPTS)
        # A Japanese sentence may do without Chinese characters.
        assert found == expected or (probe.language == "ja" and found == {"ja"}), probe.id


def test_choices_are_the_same_in_five_languages() -> None:
    probes = load_suite("choices").probes
    by_language = {
        tag: [p.category for p in probes if p.language == tag]
        for tag in {p.language for p in probes}
    }
    assert len(by_language) == 5
    assert len({tuple(c) for c in by_language.values()}) == 1


def test_continuations_break_off_in_the_open() -> None:
    for probe in load_suite("continuations").probes:
        assert probe.kind == "text"
        assert probe.text == (probe.text or "").strip(), probe.id
        assert len((probe.text or "").split()) >= 6, probe.id


def test_checkable_answers_read_as_correct() -> None:
    checkable = [p for s in SUITES for p in s.probes if p.answer]
    assert len(checkable) >= 100
    for probe in checkable:
        assert probe.answer
        assert expected_answer(probe.answer), probe.id
        assert is_correct(probe, f"{probe.answer.value}.") is True, probe.id


def test_only_identity_questions_have_no_weight() -> None:
    weights = {s.name: {p.weight for p in s.probes} for s in SUITES}
    assert {name for name, w in weights.items() if w == {0.0}} == {"identity"}
    assert set(DEFAULT_SUITES) == set(LEAST) - {"identity"}


def test_every_probe_has_a_language() -> None:
    assert [p.id for s in SUITES for p in s.probes if not p.language] == []


def test_the_table_of_the_readme_states_the_true_counts() -> None:
    text = (data_dir("probes") / "README.md").read_text()
    stated = {
        name: int(n) for name, n in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)
    }
    assert stated == {s.name: len(s.probes) for s in SUITES}
