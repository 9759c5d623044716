"""A part of the first study: four architectures, all with one learning rate.

It shows what a rate that is not tuned does to the comparison. The rate was the default
of `clinometer study` before rates were tuned.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import first_study


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the part."""
    config = first_study.get_controls()
    config.protocol.learning_rate = 0.006
    return config
