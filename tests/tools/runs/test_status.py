"""Tests `clinometer status` on synthetic studies, and that it reads nothing else."""

import json
import types

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.runs import status
from clinometer.tools.study import folder


def _study(root, count):
    """Writes a study of which the last two runs have not begun."""
    names = {f"transformer-pico-s{seed}": 1 for seed in range(count)}
    for seed in range(count - 2):
        record = synthetic_study.record(seed=seed)
        synthetic_study.write_run(root / "runs" / f"transformer-pico-s{seed}", record)
    folder.write_settings(root, "clinometer study", {}, names)
    return root


def test_planned_runs_wait_and_come_before_finished_ones(tmp_path, capsys):
    root = _study(tmp_path / "study", 4)
    tuned = synthetic_study.write_finetuning(
        root / "runs" / "transformer-pico-s0", {"rte": (50.0, 1.0)}, status="stopped"
    )
    assert tuned.is_dir()
    assert status.main([str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["transformer-pico-s0/finetune/study", "stopped"],
        ["transformer-pico-s2", "waiting"],
        ["transformer-pico-s3", "waiting"],
        ["transformer-pico-s0", "finished"],
        ["transformer-pico-s1", "finished"],
    ]
    assert "600/600" in lines[-2]
    assert lines[-1] == "5 runs: 1 stopped, 2 waiting, 2 finished"


def test_a_run_directory_and_the_runs_of_parts(tmp_path, capsys):
    root = _study(tmp_path / "parts" / "one", 3)
    run = root / "runs" / "transformer-pico-s0"
    assert status.main([str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("transformer-pico-s0 ")
    assert status.main([str(tmp_path)]) == 0
    assert "parts/one/runs/transformer-pico-s0 " in capsys.readouterr().out


def test_one_damaged_run_hides_no_other(tmp_path, capsys):
    root = _study(tmp_path / "study", 4)
    (root / "runs" / "transformer-pico-s1" / "run.json").write_text("[]")
    assert status.main([str(root)]) == 0
    out = capsys.readouterr().out
    assert "4 runs: 1 unreadable, 2 waiting, 1 finished" in out
    assert "transformer-pico-s1: " in out and "run.json" in out


def test_watching_ends_when_all_runs_are_over(tmp_path, capsys, monkeypatch):
    root = _study(tmp_path / "study", 3)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        for seed in (1, 2):
            record = synthetic_study.record(seed=seed)
            run = root / "runs" / f"transformer-pico-s{seed}"
            synthetic_study.write_run(run, record)

    # Not of the module `time`, whose sleep other threads call.
    monkeypatch.setattr(status, "time", types.SimpleNamespace(sleep=sleep))
    assert status.main([str(root), "--watch"]) == 0
    out = capsys.readouterr().out
    assert "3 runs: 2 waiting, 1 finished" in out
    assert out.endswith("3 runs: 3 finished\n") and len(naps) == 1


def test_watching_is_left_by_an_interrupt(tmp_path, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", types.SimpleNamespace(sleep=interrupt))
    assert status.main([str(_study(tmp_path / "study", 3)), "--watch"]) == 0


def test_what_does_not_fit_the_terminal_is_counted():
    lines = ["head", *map(str, range(9)), "summary"]
    cut = status._cut(lines, 6)
    assert cut == ["head", "0", "1", "2", "... 6 more lines", "summary"]
    assert len(cut) == 6


@pytest.mark.parametrize(
    ("place", "words"),
    [("nowhere", "No such file"), (".", "no run found"), ("file", "Not a directory")],
)
def test_folders_without_runs_are_refused(tmp_path, capsys, place, words):
    (tmp_path / "file").write_text("")
    assert status.main([str(tmp_path / place)]) == 2
    assert words in capsys.readouterr().err


def test_a_damaged_study_is_said(tmp_path, capsys):
    root = _study(tmp_path / "study", 3)
    (root / "study.json").write_text(json.dumps({"passes": []}))
    assert status.main([str(root)]) == 1
    assert "study.json" in capsys.readouterr().err
