"""`auditor scan` of a list and a folder, the look before it, and how its work grows."""

import json
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from command_line import TINY, auditor, failure
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from auditor.case import Case
from auditor.data import data_dir
from auditor.models import transformers_model
from auditor.report.render import write_reports

QUICK = ("--suite", "instructions", "--probes", 1, "--max-new-tokens", 2)
HOSTILE = "evil<script>alert(1)<script>\x1b[31m"


def copies(folder, count):
    """Make `count` models that differ in one number each."""
    for number in range(count):
        target = folder / f"m{number}"
        shutil.copytree(TINY / "sibling", target)
        (target / "lineage.json").unlink(missing_ok=True)
        weights = target / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-2] ^= 1 + number
        weights.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Six models, one of them broken, and a list that names them all."""
    root = copies(tmp_path_factory.mktemp("registry"), 6)
    (root / "m5" / "model.safetensors").write_bytes(b"\x10")
    (root / "all.txt").write_text("".join(f"m{n}\n" for n in range(6)) + "m0\nmissing/model/x\n")
    return root


class Counted:
    """A scan of the first suspects of a registry, and what work it did."""

    def __init__(self, root, count, out):
        self.loads, self.parsed = Counter(), Counter()
        listing = root / f"first-{count}.txt"
        listing.write_text("".join(f"m{n}\n" for n in range(count)))
        with pytest.MonkeyPatch.context() as patch:
            opened, read = transformers_model.open_transformers, Case.read_json

            def counting_open(specifier, **options):
                self.loads[specifier.canonical] += 1
                return opened(specifier, **options)

            def counting_read(case, name):
                self.parsed[name] += 1
                return read(case, name)

            patch.setattr(transformers_model, "open_transformers", counting_open)
            patch.setattr(Case, "read_json", counting_read)
            words = ("--list", listing, *QUICK, "--out", out, "--json")
            self.done = auditor("scan", "tiny:teacher", *words)
        self.case = Case(out)

    @property
    def bytes_read(self):
        return sum(row["bytes_read"] for row in self.done.json["prefilter"]["suspects"])


@pytest.fixture(scope="module")
def scans(registry, tmp_path_factory):
    return {
        count: Counted(registry, count, tmp_path_factory.mktemp("case") / "case")
        for count in (2, 4)
    }


def test_each_model_is_loaded_once_the_reference_too(scans):
    for count, scan in scans.items():
        assert scan.done.code == 0, scan.done.err
        assert len(scan.loads) == count + 1
        assert set(scan.loads.values()) == {1}
        assert scan.loads["tiny:teacher"] == 1


def test_bytes_that_are_read_grow_with_the_suspects(scans):
    assert scans[4].bytes_read == 2 * scans[2].bytes_read > 0


def test_no_file_of_the_whole_case_is_parsed_again_for_every_suspect(scans):
    # Each is as large as the case has suspects: parsed for each of them, time would be quadratic.
    for name in ("statistics.json", "conclusion.json"):
        assert scans[4].parsed[name] == scans[2].parsed[name]


def test_a_report_does_not_grow_with_the_other_suspects(scans):
    small, large = (
        len((scans[count].case.data / "report-m0.html").read_bytes()) for count in (2, 4)
    )
    # What remains: a line for each suspect in one table, and the rest of it.
    assert large - small < 4000
    page = (scans[4].case.data / "report-m0.html").read_text()
    assert "arrays/scores/m0.npy" in page
    assert "arrays/scores/m1.npy" not in page
    assert "arrays/scores/m1.npy" in (scans[4].case.data / "report.html").read_text()


def test_the_result_holds_the_look_and_follows_its_schema(scans):
    schemas = data_dir("reports") / "schema"
    load = Registry(
        retrieve=lambda name: Resource.from_contents(json.loads((schemas / name).read_text()))
    )
    schema = json.loads((schemas / "scan-1.json").read_text())
    validator = Draft202012Validator(schema, registry=load)
    assert list(validator.iter_errors(scans[4].done.json)) == []


def test_the_overview_shows_the_graph_as_context(scans):
    data = scans[4].case.data
    page = (data / "report.html").read_text()
    assert "Lineage graph: context, not evidence" in page
    assert "Context, not evidence" in (data / "report.md").read_text()
    first = (data / "report.html").read_bytes()
    write_reports(scans[4].case)
    assert (data / "report.html").read_bytes() == first


def test_a_sealed_scan_with_a_look_verifies_and_replays(scans, tmp_path):
    key = tmp_path / "keys"
    assert auditor("keys", "new", "--out", key).code == 0
    sealed = tmp_path / "case.evidence"
    words = ("--key", key / "auditor.key.pem", "--out", sealed)
    done = auditor("seal", scans[2].case.root, *words)
    assert done.code == 0, done.err
    public = key / "auditor.pub.pem"
    done = auditor("verify", sealed, "--key", public, "--replay", "--json")
    assert done.code == 0, done.out
    altered = sealed / "data" / "prefilter.json"
    altered.write_text(altered.read_text().replace('"seed": 0', '"seed": 1'))
    assert auditor("verify", sealed, "--key", public, "--json").code == 5


def test_a_list_goes_on_after_bad_lines(registry, tmp_path):
    graph = tmp_path / "graph.svg"
    words = ("--list", registry / "all.txt", "--prefilter-only", "--graph", graph)
    done = auditor("scan", "tiny:teacher", *words, "--json")
    assert done.code == 0, done.err
    assert len(done.json["suspects"]) == 5
    refused = {row["origin"]: row for row in done.json["refused"]}
    path = registry / "all.txt"
    assert set(refused) == {f"{path}:{n}" for n in (6, 7, 8)}
    assert refused[f"{path}:7"]["repeated"]
    assert f"not examined: {path}:6" in done.err
    assert "corrupt" in refused[f"{path}:6"]["reason"]
    assert graph.read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_a_folder_is_looked_at_and_only_the_nearest_is_measured(registry, tmp_path):
    out = tmp_path / "case"
    words = (registry, "tiny:teacher", "--top", 1, *QUICK, "--out", out)
    done = auditor("scan", "tiny:teacher", *words, "--json")
    assert done.code == 0, done.err
    assert [one["suspect"]["spec"] for one in done.json["results"]] == ["tiny:teacher"]
    assert done.json["prefilter"]["left_out"] == 5
    gated = auditor("scan", "tiny:teacher", *words, "--fail-on", "logit-js > 0.9", "--json")
    assert gated.code == 4  # what was left out passes no gate


def test_words_for_people_say_context(registry):
    done = auditor("scan", "tiny:teacher", registry, "--top", 2, "--prefilter-only")
    assert done.code == 0
    assert "context, not evidence" in done.out
    assert "3 of 5 suspects were left out" in done.out
    for verdict in ("replication", "imitation", "no-link"):
        assert verdict not in done.out


def test_hostile_names_are_inert(tmp_path):
    folder = tmp_path / "r"
    shutil.copytree(TINY / "sibling", folder / HOSTILE)
    page = tmp_path / "graph.html"
    svg = tmp_path / "graph.svg"
    for graph in (page, svg):
        words = (folder, "--prefilter-only", "--graph", graph)
        done = auditor("scan", "tiny:teacher", *words)
        assert done.code == 0, done.err
        assert "\x1b" not in done.out + graph.read_text()
        assert "<script" not in graph.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no suspect was given"),
        (("tiny:sibling", "--prefilter-only", "--fail-on", "logit-js < 1"), "nothing to decide"),
        (("tiny:sibling", "--graph", "x.png"), "the name says no format"),
        (("tiny:sibling", "--graph", "/proc/x.svg"), "--graph /proc/x.svg cannot be written"),
        (("~nosuchuser/models", "--prefilter"), "does not exist"),
        (("--list", "/nowhere.txt"), "cannot be read: No such file"),
        (("tiny:sibling", "--prefilter", "--fail-on", "nonsense < 1"), "unknown name"),
    ],
)
def test_bad_requests_are_refused_before_any_work(words, message, monkeypatch):
    monkeypatch.setattr("auditor.registry.prefilter.prefilter", None)
    error = failure(auditor("scan", "tiny:teacher", *words, "--json"))
    assert message in error["message"]
    assert error["hint"]


@pytest.mark.parametrize("seed", [-1, 2**53])
@pytest.mark.parametrize("command", ["scan", "compare"])
def test_a_seed_that_no_plan_can_hold_is_wrong_usage(command, seed):
    done = auditor(command, "tiny:sibling", "tiny:teacher", "--seed", seed)
    assert done.code == 2
    assert "0<=x<=9007199254740991" in done.err


def test_a_graph_without_weights_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "inst-0001", "text": "hello"}\n')
    words = (path, "--prefilter-only", "--graph", tmp_path / "g.svg", "--json")
    error = failure(auditor("scan", "tiny:teacher", *words))
    assert "there is no graph" in error["message"]
    assert not (tmp_path / "g.svg").exists()


def test_the_look_loads_no_report_library_before_it_is_asked():
    code = "import sys; import auditor.registry.listing; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
