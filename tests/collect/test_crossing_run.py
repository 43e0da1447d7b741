"""When a crossing is collected, by whom, and what stands where there is none."""

import json
import shutil
from dataclasses import replace

import pytest
from collect_world import collected, plan_of
from crossing_world import crossing_models, crossing_plan, write_records

from auditor.canon import directory_digests
from auditor.case import Case
from auditor.collect.replies import read_replies
from auditor.errors import SubjectError
from auditor.models.transformers_model import TransformersModel
from auditor.pairing import load_pair
from auditor.panel import TEMPERATURES
from auditor.stored import planned_probes, read_array


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return crossing_models(tmp_path_factory.mktemp("crossing-models"))


@pytest.fixture(scope="module")
def told(models):
    plan = plan_of({"reference": models.reference}, probes=4)
    return write_records(models.reference.parent / "told.jsonl", plan, {1: ["", "the end"]})


@pytest.fixture(scope="module")
def plan(models, told):
    return crossing_plan(models, told, probes=4)


@pytest.fixture(scope="module")
def case(plan, tmp_path_factory):
    return collected(tmp_path_factory.mktemp("crossed") / "case", plan)


def missing(case, name):
    return case.read_json(f"collected/{name}.json")["missing"].get("crossing")


def events(case):
    lines = (case.data / "custody.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def digests(case):
    found = directory_digests(case.data)
    found.pop("custody.jsonl")
    return found


def test_pair_holds_the_crossing_of_its_authors(case, plan):
    pair = load_pair(case, "reference", "suspect")
    crossing = pair.crossing
    assert crossing.scorers == ("reference", "bytes", "merging")
    assert crossing.authors == ("suspect", "reference", "bytes", "merging")
    assert crossing.logprob.shape == (3, 4, 4, 2, len(TEMPERATURES))
    assert (crossing.logprob < 0).all()
    replies = pair.suspect.texts
    lengths = [[len(text.encode()) for text in texts] for texts in replies]
    assert crossing.bytes[0].tolist() == lengths


def test_failed_and_empty_replies_have_no_number(case):
    crossing = load_pair(case, "reference", "told").crossing
    # One probe was answered: its first repeat with nothing, its second with 7 bytes.
    assert crossing.bytes[0].tolist() == [[0, 7]]
    logprob = crossing.logprob[:, 0, 0]
    assert (logprob[:, 1] < 0).all()
    assert (logprob[:, 0] != logprob[:, 0]).all()  # NaN


def test_each_distinct_reply_is_held_once(case, plan):
    replies = read_replies(case)
    assert replies.said.shape == (6, 4, 2)
    # The twin says what the reference says.
    assert (replies.said[5] == replies.said[0]).all()
    assert replies.total <= 4 * 8 + 1
    texts = [replies.texts(probe) for probe in range(4)]
    assert all(len(set(said)) == len(said) and "" not in said for said in texts)
    assert (replies.said[2] >= 0).sum() == 1
    assert replies.starts[1] == len(texts[0])


def test_custody_names_every_scorer_and_how_it_read(case):
    crossed = [event for event in events(case) if event["event"] == "crossing"]
    assert [event["name"] for event in crossed] == ["reference", "bytes", "merging"]
    assert {event["prompts"] for event in crossed} == {"read once"}
    planned = {
        subject["name"]: subject["digest"] for subject in case.read_json("plan.json")["subjects"]
    }
    assert all(event["digest"] == planned[event["name"]] for event in crossed)


def test_scratch_is_dropped_and_the_digests_list_the_crossing(case):
    assert not any((case.work / name).exists() for name in ("crossing", "stage", "hidden"))
    listed = case.read_json("collected/merging.json")["digests"]
    assert "arrays/crossing/merging.npy" in listed
    assert missing(case, "merging") is None


@pytest.fixture
def again(case, tmp_path):
    """Return a function: the case collected again, without its crossing, on a changed plan.

    What the models said before stays, so only the crossing is done.
    """

    def collect(plan, scorers=("reference", "bytes", "merging"), root=tmp_path / "case"):
        shutil.copytree(case.data, root / "data")
        copy = Case(root)
        for scorer in scorers:
            copy.array("crossing", scorer).unlink()
        (copy.data / "collected" / "told.json").unlink()
        copy.write_json("plan.json", plan)
        return collected(root, plan)

    return collect


def with_subjects(plan, order, **changes):
    """Return the plan with some of its subjects, and other fields of those named."""
    rows = {subject["name"]: dict(subject) for subject in plan["subjects"]}
    for name, fields in changes.items():
        rows[name].update(fields)
    return {**plan, "subjects": [rows[name] for name in order]}


@pytest.mark.parametrize(
    ("names", "count"), [((), "no family"), (("bytes",), "1 family"), (("twin",), "no family")]
)
def test_too_few_control_families_leave_the_reason_with_the_remedy(again, plan, names, count):
    found = again(with_subjects(plan, ("reference", "suspect", "told", *names)))
    assert not any((found.data / "arrays" / "crossing").iterdir())
    assert missing(found, "reference") is None
    assert missing(found, "suspect") == (
        f"the plan has {count} of controls without a link to the reference, at least 2 are "
        "needed: add --control SPEC"
    )


def test_two_controls_of_one_family_are_one(again, plan):
    both = {"family": "both"}
    changed = with_subjects(plan, [s["name"] for s in plan["subjects"]], bytes=both, merging=both)
    assert "has 1 family of controls" in missing(again(changed), "suspect")


def test_reference_that_offers_text_only_scores_nobody(again, plan):
    order = ("told", "suspect", "bytes", "merging")
    found = again(with_subjects(plan, order, told={"role": "reference"}))
    assert not any((found.data / "arrays" / "crossing").iterdir())
    reason = missing(found, "bytes")
    assert reason.startswith("of the reference: records:")
    assert "offers TEXT access only, LOGITS is needed" in reason
    assert load_pair(found, "told", "suspect").crossing is None


def test_plan_at_text_access_has_no_crossing(again, plan):
    assert missing(again({**plan, "access": "TEXT"}), "suspect") == (
        "of the reference: the plan allows TEXT access only, LOGITS is needed"
    )


def test_control_of_text_only_is_an_author_with_the_reason(again, plan):
    order = [subject["name"] for subject in plan["subjects"]]
    found = again(with_subjects(plan, order, told={"role": "independent"}))
    assert "offers TEXT access only" in missing(found, "told")
    crossing = load_pair(found, "reference", "suspect").crossing
    assert crossing.scorers == ("reference", "bytes", "merging")
    assert "told" in crossing.authors


def test_author_without_a_reply_has_the_reason(again, plan, monkeypatch):
    def silenced(case):
        replies = read_replies(case)
        said = replies.said.copy()
        said[1] = -1
        return replace(replies, said=said)

    monkeypatch.setattr("auditor.collect.crossing.read_replies", silenced)
    found = again(plan, scorers=())
    assert missing(found, "suspect") == "it gave no reply, or empty ones only"
    assert missing(found, "bytes") is None


def test_scorer_that_fails_has_the_reason_and_costs_no_other(again, plan, monkeypatch):
    def overflow(self, prefix, endings):
        raise SubjectError("the model computes NaN")

    monkeypatch.setattr(TransformersModel, "hidden_after", overflow)
    found = again(plan, scorers=("merging",))
    assert missing(found, "merging") == "the model computes NaN"
    assert load_pair(found, "reference", "suspect").crossing.scorers == ("reference", "bytes")
    assert not list(found.data.rglob("*.part"))


def test_reference_that_can_read_no_reply_leaves_the_reason(again, plan, monkeypatch):
    monkeypatch.setattr(TransformersModel, "longest", 3)
    found = again(plan, scorers=("reference",))
    assert missing(found, "suspect").startswith("of the reference: reference can read none of the ")


def test_resumed_crossing_gives_the_same_bytes(again, case, plan, tmp_path, monkeypatch):
    # Three replies a write, so that there are several; one file is then cut inside a batch.
    monkeypatch.setattr("auditor.collect.crossed_replies._MOST_FLUSHED", 3)
    with monkeypatch.context() as patch:
        patch.setattr("auditor.collect.run._finish", lambda run, uncrossed: None)
        patch.setattr("auditor.collect.run._drop_scratch", lambda case: None)
        cut = again(plan)
    cut.array("crossing", "bytes").unlink()
    scored = cut.work / "crossing" / "bytes.npy"
    content = scored.read_bytes()
    scored.unlink()
    scored.with_name("bytes.npy.part").write_bytes(content[: len(content) // 2])
    # Killed between the scores and their order, and inside the order.
    cut.array("crossing", "merging").unlink()
    torn = cut.array("crossing", "reference")
    torn.rename(torn.with_name("reference.npy.part"))
    collected(cut.root, plan)
    assert digests(cut) == digests(case)
    cuts = [event["file"] for event in events(cut) if event["event"] == "cut"]
    assert cuts == ["work/crossing/bytes.npy"]


def test_crossing_that_is_complete_needs_no_model(again, case, plan, monkeypatch):
    def refuse(self, prefix, endings):
        raise SubjectError("it was asked")

    monkeypatch.setattr(TransformersModel, "hidden_after", refuse)
    assert digests(again(plan, scorers=())) == digests(case)


def test_scorers_side_by_side_write_the_bytes_of_scorers_in_turn(again, case, plan, monkeypatch):
    from auditor.collect import crossing

    groups = []
    real = crossing.side_by_side
    monkeypatch.setattr(
        crossing, "side_by_side", lambda jobs, most: groups.append(len(jobs)) or real(jobs, most)
    )
    monkeypatch.setattr(crossing, "idle_cores", lambda device: 2)
    assert digests(again(plan)) == digests(case)
    # The reference first and alone, then both controls.
    assert groups == [1, 2]


def test_failure_beside_another_scorer_costs_only_its_own(again, plan, monkeypatch):
    real = TransformersModel.hidden_after

    def overflow(self, prefix, endings):
        if "bytes" in self.ref.spec or "control" in self.ref.spec:
            raise SubjectError("the model computes NaN")
        return real(self, prefix, endings)

    monkeypatch.setattr(TransformersModel, "hidden_after", overflow)
    monkeypatch.setattr("auditor.collect.crossing.idle_cores", lambda device: 2)
    found = again(plan)
    assert missing(found, "bytes") == "the model computes NaN"
    assert load_pair(found, "reference", "suspect").crossing.scorers == ("reference", "merging")


def test_large_scorers_run_one_after_another(again, plan, monkeypatch):
    from auditor.collect import crossing

    monkeypatch.setattr(crossing, "idle_cores", lambda device: 2)
    monkeypatch.setattr(crossing, "is_small", lambda parameters: False)
    groups = []
    real = crossing._score

    def score(run, shelf, group, replies):
        groups.append(len(group))
        return real(run, shelf, group, replies)

    monkeypatch.setattr(crossing, "_score", score)
    again(plan)
    assert groups == [1, 1, 1]


def test_rows_placed_in_several_blocks_are_the_same(again, case, plan, monkeypatch):
    monkeypatch.setattr("auditor.collect.crossing._BLOCK", 1)
    assert digests(again(plan)) == digests(case)


def test_reply_that_a_scorer_cannot_read_has_no_row(again, case, plan, monkeypatch):
    whole = [row for row in read_array(case, "crossing", "bytes") if row["probe"] == 0]
    # Long enough for the shorter ones of the sequences, in bytes after the start token.
    prompt = len(planned_probes(case)[0].messages[0].content) + len("user: \nassistant: ")
    shortest = min(row["tokens"] for row in whole)
    monkeypatch.setattr(TransformersModel, "longest", int(prompt + shortest))
    found = again(plan, scorers=("bytes",))
    rows = [row for row in read_array(found, "crossing", "bytes") if row["probe"] == 0]
    kept = [row["tokens"] for row in whole if row["tokens"] == shortest]
    assert [row["tokens"] for row in rows] == kept
    assert len(rows) < len(whole)
