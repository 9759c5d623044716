"""Tests that the configuration of a study has the fields of the settings."""

import dataclasses

from clinometer.tools.study import study_config
from clinometer.tools.study.configs import study
from clinometer.tools.study.power import settings


def test_the_defaults_are_the_configuration_s():
    config = study.get_config()
    assert set(config.power) == {
        field.name for field in dataclasses.fields(settings.PowerSettings)
    }
    assert study_config.read(config).power == settings.PowerSettings()
    assert study_config.read(config).margin is None


def test_a_loss_for_each_model():
    defaults = settings.PowerSettings()
    assert len(defaults.models) == len(defaults.losses) == 4
