"""Tests that every architecture trains, saves checkpoints and resumes exactly."""

import shutil

import pytest

from clinometer import models
from clinometer.tests.train import whole_runs
from clinometer.train import main

OPTIONS = ("model.num_encoder_layers=2", "model.num_decoder_layers=2")


def records(workdir):
    return whole_runs.records(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_a_restored_run_goes_on_as_if_it_had_not_stopped(
    architecture, arguments, tmp_path
):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    command = arguments(*OPTIONS, model=f"{architecture}-pico")
    assert main.main([*command, f"--workdir={whole}"]) == 0
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "checkpoints" / "8")
    assert main.main([*command, f"--workdir={resumed}"]) == 0
    assert records(resumed) == records(whole)
    assert whole_runs.record(resumed)["metrics"] == whole_runs.record(whole)["metrics"]
    names = {name for record in records(whole) for name in record}
    places = {name.split("/")[1] for name in names if name.startswith("health/")}
    assert places >= {"gradient_rms", "parameter_rms", "update_ratio", "decoder"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_twenty_steps_in_bfloat16(architecture, arguments, tmp_path):
    """Scanned, rematerialised and in microbatches, beside the same steps in float32."""
    first, last = {}, {}
    for dtype in ("bfloat16", "float32"):
        command = arguments(
            f"model.dtype={dtype}",
            "model.remat=dots",
            "num_microbatches=2",
            "train_steps=20",
            *OPTIONS,
            "model.scan_layers=true",
            model=f"{architecture}-pico",
        )
        workdir = tmp_path / dtype
        assert main.main([*command, f"--workdir={workdir}"]) == 0
        assert whole_runs.record(workdir)["config"]["model"]["dtype"] == dtype
        logged = [x["train/loss"] for x in records(workdir) if "train/loss" in x]
        first[dtype], last[dtype] = logged[0], logged[-1]
    # Both learn the same: the difference is small beside what was learned.
    learned = first["float32"] - last["float32"]
    assert learned > 0
    assert abs(last["bfloat16"] - last["float32"]) < 0.1 * learned
