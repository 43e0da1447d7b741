"""A suspect behind a server that is not there: no record of it, and no verdict on it."""

from pathlib import Path

import pytest

from auditor.cli.main import run


def test_a_server_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = "openai:m?base_url=http://127.0.0.1:1/v1"
    words = ["compare", spec, "tiny:teacher", "--probes", "2", "--out", str(tmp_path / "case")]
    assert run(words) == 2
    said = capsys.readouterr().err
    assert "gave no reply: ConnectError" in said
    assert "check base_url" in said
    assert not [*(tmp_path / "case").rglob("result*.json")]
