"""Tests `clinometer import-results`."""

import pytest

from clinometer.tools.results import frame
from clinometer.tools.results import main
from clinometer.tools.results import published


def test_the_published_rows(tmp_path, capsys):
    assert main.main(["--published", "--out", str(tmp_path)]) == 0
    assert "30 runs" in capsys.readouterr().out
    assert frame.read(tmp_path).equals(published.rows())


def test_columns_are_listed(capsys):
    assert main.main(["--columns"]) == 0
    listed = capsys.readouterr().out
    assert "tokens_seen (tokens)" in listed and "score_TASK (percent)" in listed


def test_bad_files_are_a_line_and_write_nothing(tmp_path, capsys):
    file = tmp_path / "file.csv"
    file.write_text("run,modle\na,b\n")
    out = tmp_path / "out"
    assert main.main([str(file), "--out", str(out)]) == 2
    assert "did you mean 'model'" in capsys.readouterr().err
    assert not out.exists()
    assert main.main([str(tmp_path / "x.csv"), "--out", str(out)]) == 2
    assert main.main([str(file), "--out", str(file / "x")]) == 2


def test_a_file_is_needed(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main([])
    assert stop.value.code == 2
