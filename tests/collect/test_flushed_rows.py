"""The rows of a small model are held until they are worth a write, or large."""

from collect_world import collected, plan_of

from auditor.collect import forcing
from auditor.collect.arrays import ArrayWriter


def test_rows_are_written_at_a_size_that_no_number_of_probes_changes(models, tmp_path, monkeypatch):
    sizes = []
    real = ArrayWriter.append

    def append(self, rows):
        sizes.append(rows.nbytes)
        return real(self, rows)

    monkeypatch.setattr(ArrayWriter, "append", append)
    plan = plan_of({"reference": models.reference, "other": models.other}, probes=8)
    cases = []
    for limit in (forcing._FLUSHED_BYTES, 1):
        monkeypatch.setattr(forcing, "_FLUSHED_BYTES", limit)
        sizes.append(-1)
        cases.append(collected(tmp_path / str(limit), plan))
    first = sizes[1:].index(-1)
    held, written = sizes[1 : first + 1], sizes[first + 2 :]
    assert len(written) > len(held)
    assert max(written) < max(held)
    assert sum(written) == sum(held)
    paths = sorted(path.relative_to(cases[0].data) for path in cases[0].data.glob("arrays/*/*"))
    assert paths
    for path in paths:
        assert (cases[0].data / path).read_bytes() == (cases[1].data / path).read_bytes()
