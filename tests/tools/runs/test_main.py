"""Tests `clinometer runs`: what it lists, what differs, and its JSON."""

import json

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.runs import main


def _write(root, name, **changes):
    run = root / "runs" / name
    return synthetic_study.write_run(run, synthetic_study.record(**changes))


def _json(capsys, *argv):
    assert main.main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_fields_that_differ_losses_and_speed(tmp_path, capsys):
    _write(tmp_path, "a", seed=0)
    config = {"name": "adafactor", "weight_decay": 0.5}
    _write(
        tmp_path,
        "b",
        seed=3,
        status="stopped",
        config__optimizer=config,
        **{"metrics__validation/loss": 4.5, "metrics__train/loss": 4.25},
        metrics__step=77,
        speed__steps_per_second_median=2.5,
    )
    first, second = _json(capsys, tmp_path)
    assert (first["run"], second["run"]) == ("a", "b")
    assert second["config"] == {"optimizer.weight_decay": 0.5, "seed": 3}
    assert first["config"] == {"optimizer.weight_decay": None, "seed": 0}
    assert (second["status"], second["step"], second["train_steps"]) == (
        *("stopped", 77),
        600,
    )
    assert (second["validation_loss"], second["train_loss"]) == (4.5, 4.25)
    assert second["steps_per_second"] == 2.5 and second["speed_noisy"] is False
    assert main.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    # Both fields differ between the same runs, so one column stands for them.
    assert lines[0].split()[:4] == ["run", "status", "seed", "step"]
    assert "4.5000" in lines[2] and "2.50" in lines[2]
    assert lines[3] == "seed: likewise optimizer.weight_decay"


def test_fine_tunings_are_compared_with_one_another(tmp_path, capsys):
    for name, seed in (("a", 0), ("b", 1)):
        run = _write(tmp_path, name, seed=seed)
        rate = 0.01 * (seed + 1)
        synthetic_study.write_finetuning(
            run, {"rte": (50.0 + seed, 1.0), "cb": (60.0, 1.0)}, learning_rate=rate
        )
    found = {run["run"]: run for run in _json(capsys, tmp_path)}
    assert set(found["a"]["config"]) == {"seed"}
    tuned = found["b/finetune/study"]
    assert tuned["config"] == {"schedule.learning_rate": 0.02}
    assert tuned["scores"] == {"cb": 60.0, "rte": 51.0} and tuned["score"] == 55.5
    assert main.main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    first, second = text.split("\n\n")
    assert "score" not in first and "55.5" in second


def test_several_folders_and_a_damaged_run(tmp_path, capsys):
    _write(tmp_path / "one", "a")
    (_write(tmp_path / "two", "a") / "run.json").write_text("{")
    first, second = _json(capsys, tmp_path / "one", tmp_path / "two")
    assert first["run"] == str(tmp_path / "one" / "runs" / "a")
    assert second["status"] == "unreadable" and "run.json" in second["error"]
    assert main.main([str(tmp_path / "two")]) == 0
    assert "run.json" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_folders_without_runs_are_refused(tmp_path, capsys, place):
    assert main.main([str(tmp_path / place)]) == 2
    assert "clinometer runs: " in capsys.readouterr().err
