"""A watch sees another model, not another number type, and goes on where its log ends."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from auditor.cli.main import run
from auditor.collect.coarse_copies import FORECAST, Coarseness, coarsen
from auditor.collect.first_answers import drawn_answers, exact_answers
from auditor.data import data_dir
from auditor.enrolment.asking import SYSTEMS
from auditor.enrolment.baseline import Enrolling, enrol
from auditor.errors import InputError
from auditor.judge.cells import table
from auditor.judge.wagers import Wagers
from auditor.judge.watch_power import watched as alarm_of
from auditor.models import open_model
from auditor.progress import Silent
from auditor.watch_baseline import groups_of, probe_of
from auditor.watching import Watching, watch

SPEC = "tiny:zoo/reference-00"
OTHER = "tiny:zoo/gpt2-00"


def validator(name: str) -> Any:
    schema = json.loads((data_dir("reports") / "schema" / f"{name}.json").read_bytes())
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def baseline() -> dict[str, Any]:
    return enrol(Enrolling(spec=SPEC, candidates=80, cells=8), Silent())


@pytest.fixture
def stored(baseline: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(baseline))
    return path


def watched(spec: str, baseline: dict[str, Any], dtype: str | None = None, **wanted: Any) -> Any:
    model = open_model(spec, dtype=dtype)
    try:
        return watch(model, baseline, Watching(**{"seed": 3, **wanted}), Silent())
    finally:
        model.close()


def test_a_baseline_keeps_every_group_and_its_ceilings(baseline: dict[str, Any]) -> None:
    validator("watch-baseline-3").validate(baseline)
    assert 4 <= len(baseline["cells"]) <= 8
    assert [group["system"] for group in baseline["groups"]] == [None, SYSTEMS[1]]
    for group in baseline["groups"]:
        running = [(p["dtype"], p["attention"]) for p in group["passes"]]
        assert running == [("float32", None), ("bfloat16", None), ("bfloat16", "eager")]
    for cell in baseline["cells"]:
        for group, kept in zip(cell["groups"], baseline["groups"], strict=True):
            passes = np.array(group["passes"])
            assert passes.shape == (3, len(cell["answers"]) + 1)
            np.testing.assert_allclose(passes.sum(axis=1), 1.0)
            odds = passes.max(axis=0) * np.exp(kept["margin"] / baseline["temperature"])
            raised = odds / (odds + 1.0 - passes.max(axis=0))
            np.testing.assert_allclose(group["ceilings"], np.minimum(1.0, raised + 0.02))


def test_questions_are_near_ties_that_every_pass_answers_alike(baseline: dict[str, Any]) -> None:
    # Half of them in each group: the gap of the two likeliest is wider than the margin by odds of
    # e^2 in every pass, and by half a nat more at most.
    temperature, near = baseline["temperature"], [0, 0]
    for cell in baseline["cells"]:
        for place, group in enumerate(cell["groups"]):
            passes = np.array(group["passes"])
            first, second = np.argsort(-passes[0])[:2]
            odds = np.log(passes[:, first]) - np.log(np.maximum(passes[:, second], 1e-300))
            least = float(temperature * odds.min()) - baseline["groups"][place]["margin"]
            near[place] += 2 * temperature - 1e-9 <= least < 0.5
    assert min(near) >= 4
    assert len({cell["messages"][-1]["content"] for cell in baseline["cells"]}) == 8


def test_a_copy_of_fewer_bits_is_forecast_and_seen(baseline: dict[str, Any]) -> None:
    assert baseline["power"][0]["change"] == "weights rounded to 4 bits, groups of 32"
    model = open_model(SPEC, dtype="float32")
    coarsen(model, Coarseness(3, 32))
    try:
        found = watch(model, baseline, Watching(seed=3), Silent())
    finally:
        model.close()
    assert found["outcome"] == "changed"


@pytest.mark.parametrize(("changed", "most"), [("swap", 15), ("4 bits", 150)])
def test_a_change_after_many_honest_answers_is_seen_as_soon(
    baseline: dict[str, Any], changed: str, most: int
) -> None:
    groups = groups_of(baseline)
    model = open_model(OTHER if changed == "swap" else SPEC, dtype="float32")
    if changed == "4 bits":
        coarsen(model, FORECAST)
    probes = [probe_of(cell) for cell in baseline["cells"]]
    found = list(exact_answers(model, probes, baseline["temperature"]))
    model.close()
    rows = [table([row], c["answers"])[0] for row, c in zip(found, baseline["cells"], strict=True)]
    draw, wagers = np.random.RandomState(0), Wagers(groups)
    for _ in range(450):
        cell = wagers.next_cell()
        usual = groups[0][cell].usual
        wagers.add(cell, int(draw.choice(len(usual), p=usual)))
    assert wagers.log10_wealth < 1.0
    for _ in range(5):
        asked = alarm_of(wagers, rows, log10_alarm=2.0, queries=most, draw=draw)
        assert asked is not None


def test_the_enrolled_system_message_is_the_same_model(baseline: dict[str, Any]) -> None:
    # the deployment that puts it before the question, drawn from the answers of its own passes
    groups = groups_of(baseline)
    rows = [cell.usual for cell in groups[1]]
    draw = np.random.RandomState(4)
    for _ in range(5):
        assert alarm_of(Wagers(groups), rows, log10_alarm=2.0, queries=100, draw=draw) is None


def test_probabilities_of_a_baseline_are_the_models_own(baseline: dict[str, Any]) -> None:
    # draws by the other path, Gumbel noise on float32 logits, are counted against them
    model = open_model(SPEC, dtype="float32")
    cell = baseline["cells"][0]
    (texts,) = drawn_answers(model, [probe_of(cell)], 400, baseline["temperature"], 5)
    model.close()
    for name, share in zip(cell["answers"], cell["groups"][0]["passes"][0], strict=False):
        error = (share * (1 - share) / 400) ** 0.5
        assert abs(texts.count(name) / 400 - share) <= 4 * error + 1e-3


def test_another_number_type_is_the_same_model(baseline: dict[str, Any]) -> None:
    for dtype in ("float32", "float16"):
        result = watched(SPEC, baseline, dtype, queries=60)
        validator("watch-3").validate(result)
        assert result["outcome"] == "no change seen"
        assert result["queries"] == sum(sum(cell["given"]) for cell in result["cells"]) == 60


def test_each_question_is_drawn_anew() -> None:
    # at a temperature of 1 few questions are always answered alike
    kept = enrol(Enrolling(spec=SPEC, candidates=80, cells=8, temperature=1.0), Silent())
    found = watched(SPEC, kept, queries=60)
    assert any(sum(count > 0 for count in cell["given"]) > 1 for cell in found["cells"])


def test_another_model_is_seen_and_the_watch_ends(baseline: dict[str, Any]) -> None:
    result = watched(OTHER, baseline)
    validator("watch-3").validate(result)
    assert result["outcome"] == "changed"
    assert result["queries"] < 60
    assert result["p"] <= 0.01


def test_a_watch_goes_on_where_its_log_ends(baseline: dict[str, Any], tmp_path: Path) -> None:
    whole = watched(SPEC, baseline, queries=20)
    log = tmp_path / "watch.jsonl"
    watched(SPEC, baseline, queries=8, log=log)
    with log.open("ab") as stream:
        stream.write(b'{"cell":0,"ans')  # killed while it wrote
    again = watched(SPEC, baseline, queries=12, log=log, seed=9)  # that of the log is gone on with
    assert again == whole
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]  # the torn one is gone
    assert len(lines) == 21


def test_a_seen_change_asks_nothing_more(baseline: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "watch.jsonl"
    first = watched(OTHER, baseline, log=log)
    assert watched(OTHER, baseline, log=log) == first


def test_an_answer_that_has_no_name_is_any_other(baseline: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "watch.jsonl"
    watched(OTHER, baseline, log=log)
    lines = [json.loads(line) for line in log.read_bytes().splitlines()[1:]]
    named = [baseline["cells"][line["cell"]]["answers"] for line in lines]
    places = [
        names.index(line["text"]) if line["text"] in names else len(names)
        for names, line in zip(named, lines, strict=True)
    ]
    assert [line["answer"] for line in lines] == places
    assert any(place == len(names) for place, names in zip(places, named, strict=True))


def test_an_alarm_is_not_taken_back(baseline: dict[str, Any], tmp_path: Path) -> None:
    # A log whose answers are any other until the alarm, then the usual ones until it is passed.
    log, groups = tmp_path / "watch.jsonl", groups_of(baseline)
    watched(SPEC, baseline, queries=1, log=log)
    head = log.read_bytes().splitlines()[0]
    wagers, lines, highest = Wagers(groups), [], 0.0
    while not (highest >= 2.0 and wagers.log10_wealth < 1.9):
        cell = wagers.next_cell()
        usual = groups[0][cell].usual
        answer = int(usual.argmax()) if highest >= 2.0 else len(usual) - 1
        highest = max(highest, wagers.add(cell, answer))
        lines.append({"cell": cell, "answer": answer, "text": "", "time": ""})
        assert len(lines) < 500
    log.write_bytes(b"\n".join([head, *(json.dumps(line).encode() for line in lines), b""]))
    found = watched(SPEC, baseline, queries=5, log=log)
    assert (found["outcome"], found["queries"]) == ("changed", len(lines))
    assert found["highest_log10_wealth"] == pytest.approx(highest)
    assert found["p"] == pytest.approx(10.0**-highest)
    assert found["log10_wealth"] == pytest.approx(wagers.log10_wealth)


def test_the_log_of_another_baseline_or_form_is_refused(
    baseline: dict[str, Any], tmp_path: Path
) -> None:
    log = tmp_path / "watch.jsonl"
    watched(SPEC, baseline, queries=1, log=log)
    with pytest.raises(InputError, match="or baseline"):
        watched(SPEC, {**baseline, "temperature": 0.5}, queries=1, log=log)
    log.write_bytes(log.read_bytes().replace(b"auditor/watch-log/2", b"auditor/watch-log/1"))
    with pytest.raises(InputError, match="another subject or baseline"):
        watched(SPEC, baseline, queries=1, log=log)


def test_the_log_of_another_subject_is_refused(baseline: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "watch.jsonl"
    watched(SPEC, baseline, queries=1, log=log)
    before = log.read_bytes()
    with pytest.raises(InputError, match="another subject"):
        watched(OTHER, baseline, queries=1, log=log)
    assert log.read_bytes() == before


def test_exit_codes_say_what_was_seen(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--baseline", str(stored), "--seed", "3"]
    assert run(["watch", SPEC, *words, "--queries", "20"]) == 0
    said = capsys.readouterr().out
    assert "forecast for a new watch of 150 questions at 0.01:" in said
    assert "would have been seen" not in said  # of 150 questions; this one asked 20
    log = tmp_path / "watch.jsonl"
    shown = ["--queries", "7", "--alpha", "0.2", "--log", str(log), "--json"]
    assert run(["watch", SPEC, *words, *shown]) in (0, 3)
    found = json.loads(capsys.readouterr().out)
    assert found["log10_alarm"] == pytest.approx(0.69897)  # log10 of 5
    assert (found["forecast"]["queries"], found["forecast"]["log10_alarm"]) == (150, 2.0)
    assert found["queries"] == len(log.read_bytes().splitlines()) - 1 <= 7
    assert run(["watch", OTHER, *words, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["outcome"] == "changed"
    case = tmp_path / "case"
    (case / "data").mkdir(parents=True)
    (case / "data" / "watch-baseline.json").write_bytes(stored.read_bytes())
    assert run(["watch", OTHER, "--baseline", str(case), "--seed", "3"]) == 3
    assert "at most" in capsys.readouterr().out
