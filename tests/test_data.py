import pytest

from auditor import data
from auditor.errors import DataNotFoundError


def test_the_checkout_has_both_folders():
    assert (data.data_dir("probes") / "instructions").is_dir()
    assert (data.data_dir("reports") / "templates").is_dir()


def test_the_packaged_copy_wins(tmp_path, monkeypatch):
    (tmp_path / "auditor" / "_data" / "probes").mkdir(parents=True)
    monkeypatch.setattr(data, "_PACKAGE", tmp_path / "auditor")
    assert data.data_dir("probes") == tmp_path / "auditor" / "_data" / "probes"


def test_an_unrelated_folder_beside_the_package_is_not_taken(tmp_path, monkeypatch):
    # site-packages may hold somebody else's "probes".
    (tmp_path / "probes").mkdir()
    monkeypatch.setattr(data, "_PACKAGE", tmp_path / "auditor")
    monkeypatch.setattr(data, "_CHECKOUT", tmp_path)
    with pytest.raises(DataNotFoundError, match="no probes/ files"):
        data.data_dir("probes")
