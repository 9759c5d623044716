"""Every architecture trains, is saved and resumes exactly where it was."""

import shutil

import pytest

from clinometer import models
from clinometer.train import main
from clinometer.train.run import metrics_log
from clinometer.train.run import record as run_record

OPTIONS = ("model.num_encoder_layers=2", "model.num_decoder_layers=2")


def records(workdir):
    return [
        metrics_log.without_wall(r) for r in metrics_log.read(workdir / "metrics.jsonl")
    ]


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
    assert run_record.read(resumed)["metrics"] == run_record.read(whole)["metrics"]
    names = {name for record in records(whole) for name in record}
    places = {name.split("/")[1] for name in names if name.startswith("health/")}
    assert places >= {"gradient_rms", "parameter_rms", "update_ratio", "decoder"}
