"""Compares the default configuration with the protocol that it configures."""

import dataclasses

from clinometer.tools.study import images
from clinometer.tools.study import protocol
from clinometer.tools.study import study_config
from clinometer.tools.study.configs import study


def test_the_defaults_are_the_protocol_s():
    assert study_config.read(study.get_config()).protocol == protocol.Protocol()


def test_every_field_of_the_protocol_can_be_set():
    config = study.get_config()
    own = {field.name for field in dataclasses.fields(protocol.Protocol)}
    groups = {
        "downstream": protocol.DownstreamSettings,
        "images": images.ImageSettings,
        "fewshot": images.FewShotSettings,
    }
    assert own - {"further", *groups} <= set(config.protocol)
    for group, settings in groups.items():
        own = {field.name for field in dataclasses.fields(settings)}
        assert own == set(config[group])
