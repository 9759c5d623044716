"""Tests that a missing engine is said before anything of the study is written."""

import os
import shutil

import pytest

from clinometer.tools.study import main

_GIVEN = ("--sizes", "pico", "--learning-rate", "0.006", "--store", "nowhere")


def _refused(tmp_path, capsys, *argv):
    out = tmp_path / "study"
    assert main.main(["--out", str(out), *_GIVEN, *argv]) == 2
    assert not out.exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_slurm_without_its_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    line = _refused(tmp_path, capsys, "--executor", "slurm")
    assert "no command `sbatch` on PATH" in line


@pytest.mark.parametrize("command", ["sbatch", "srun", "squeue", "scancel", "scontrol"])
def test_each_command_of_slurm_is_needed(tmp_path, capsys, monkeypatch, command):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in {"sbatch", "srun", "squeue", "scancel", "scontrol"} - {command}:
        (folder / name).symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", str(folder))
    line = _refused(tmp_path, capsys, "--executor", "slurm")
    assert f"no command `{command}` on PATH" in line


def test_jobs_that_slurm_refuses(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("srun", "squeue", "scancel", "scontrol"):
        (folder / name).symlink_to(shutil.which("true"))
    sbatch = folder / "sbatch"
    sbatch.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/asked\necho "not\ntoday" >&2; exit 1\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    line = _refused(
        tmp_path,
        capsys,
        *("--executor", "slurm", "--config.executor.slurm.minutes=7"),
        "--config.executor.gpus=3",
    )
    assert "Slurm refuses the jobs: not today; see" in line
    asked = (tmp_path / "asked").read_text().split()
    assert {"--test-only", "--time=7", "--gpus-per-node=3", "--requeue"} <= {*asked}


def test_ray_that_is_not_installed(tmp_path, capsys):
    try:
        import ray
    except ModuleNotFoundError:
        line = _refused(tmp_path, capsys, "--executor", "ray")
        assert "'ray' is not installed" in line and "make setup-ray" in line
    else:
        del ray
        line = _refused(tmp_path, capsys, "--executor", "ray")
        assert "no Ray cluster" in line


def test_a_dry_run_needs_no_engine(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    argv = ["--out", str(tmp_path / "study"), "--sizes", "pico", "--dry-run=commands"]
    argv += ["--learning-rate", "0.006", "--executor", "slurm"]
    assert main.main(argv) == 0
    assert "clinometer.train.main" in capsys.readouterr().out
