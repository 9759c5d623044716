"""Tests of `clinometer report`."""

import http.server
import pathlib
import re

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.claims import example_claims
from clinometer.tools.report import main


def test_report_and_its_errors(tmp_path, capsys):
    assert main.main([str(tmp_path)]) == 1
    assert "no run found" in capsys.readouterr().err
    synthetic_study.write_run(tmp_path / "in" / "a", synthetic_study.record())
    assert main.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert "report.html" in capsys.readouterr().out


def test_mixed_conditions(tmp_path, capsys):
    for name, size, steps in (("a", "pico", 600), ("b", "nano", 900)):
        record = synthetic_study.record(size, config__train_steps=steps)
        synthetic_study.write_run(tmp_path / name, record)
    assert main.main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "run length (train_steps). 600: a; 900: b" in error
    assert "clinometer report --mixed train_steps" in error
    assert main.main([str(tmp_path), "--mixed", "train_steps"]) == 0
    with pytest.raises(SystemExit) as caught:
        main.main([str(tmp_path), "--mixed", "length"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "--mixed: unknown field 'length'" in error
    assert "accepted: corpus_hash, " in error


def test_claims_are_printed_and_others_refused(tmp_path, capsys):
    claims = pathlib.Path(example_claims.PATH).read_bytes()
    study = synthetic_study.write_study_with_claims(tmp_path / "a", claims)
    assert main.main([str(study)]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("supported: vanilla gains with size (gain 0.3")
    assert second.startswith("supported: d32 is replicated")
    study = synthetic_study.write_study_with_claims(
        tmp_path / "b", claims + b"# Changed.\n", claims
    )
    assert main.main([str(study)]) == 1
    error = capsys.readouterr().err
    assert "transformer-micro-s0: was made for claims" in error
    assert error.count("\n") == 1
    assert not (study / "report.html").exists()


def test_help_says_that_claims_are_code(capsys):
    with pytest.raises(SystemExit):
        main.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "is Python code, which is run if its hash is the one in the runs" in told


def test_bad_use_of_serve(tmp_path, capsys):
    for wrong in (["--serve", "70000"], ["--serve", "0", "--out", str(tmp_path)]):
        with pytest.raises(SystemExit) as caught:
            main.main([str(tmp_path), *wrong])
        assert caught.value.code == 2
        assert "--serve" in capsys.readouterr().err
    assert main.main(["gs://bucket/runs", "--serve"]) == 2
    assert "not an object store" in capsys.readouterr().err
    assert main.main([str(tmp_path), "--serve", "0"]) == 1
    assert "no run found" in capsys.readouterr().err


def test_serve_prints_its_address_until_interrupted(tmp_path, capsys, monkeypatch):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())

    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(http.server.HTTPServer, "serve_forever", interrupted)
    with pytest.raises(KeyboardInterrupt):  # `cli.main` reports it.
        main.main([str(tmp_path), "--serve", "0"])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", capsys.readouterr().out)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
