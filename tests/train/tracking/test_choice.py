"""Tests how trackers are chosen, and that a package that is missing is a line."""

import sys

import pytest

from clinometer.tests.train.tracking import fakes
from clinometer.train import errors
from clinometer.train import job
from clinometer.train.configs import pretrain
from clinometer.train.tracking import choice


def test_services_are_off_by_default():
    assert choice.chosen(pretrain.get_config().log.trackers) == ("tensorboard",)


@pytest.mark.parametrize("names", ["", " ", ","])
def test_none(names):
    assert choice.chosen(names) == ()
    assert choice.start(names, None) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("tensorboards", "unknown 'tensorboards' (did you mean 'tensorboard'?); accep"),
        ("neptune", "accepted: tensorboard, wandb, mlflow, separated by commas, or no"),
        ("tensorboard, tensorboard", "tensorboard is given twice"),
    ],
)
def test_bad_names(names, message):
    with pytest.raises(errors.ConfigError) as caught:
        choice.chosen(names)
    assert str(caught.value).startswith("config.log.trackers: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_ends_the_run_before_anything_is_read(name, monkeypatch):
    """The configuration has no token store, which `prepare` would miss later."""
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda package: None)
    config = pretrain.get_config("transformer-pico")
    config.data.store = "nowhere"
    config.log.trackers = name
    with pytest.raises(errors.ConfigError) as caught:
        job.prepare(config)
    assert str(caught.value) == (
        f"config.log.trackers: {name} needs the Python package '{name}', which is not "
        f"installed; pip install 'clinometer[{name}]'"
    )


def test_a_folder_is_no_package(tmp_path, monkeypatch):
    """W&B makes a folder `wandb`, from which Python would import an empty package."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(errors.ConfigError, match="which is not installed"):
        choice.chosen("wandb")


def test_nothing_of_a_service_is_imported_unless_it_is_chosen(tmp_path, monkeypatch):
    fakes.install(monkeypatch, fakes.wandb(), "wandb_tracker")
    ours = "clinometer.train.tracking.wandb_tracker"
    assert choice.chosen("wandb") == ("wandb",)
    assert ours not in sys.modules
    (one,) = choice.start("wandb", fakes.tracked(tmp_path / "run"))
    one.finish("finished")
    assert ours in sys.modules
