"""A part of the first study: vanilla at d256, which the study predicts.

Its learning rate is extrapolated. Only the claim about the prediction uses its runs.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import first_study


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the part."""
    config = first_study.get_controls()
    config.architectures = ("transformer",)
    config.sizes = ("DM256-NH16-FF1024-PI",)
    config.design.orders = (2,)
    config.protocol.extrapolate = True
    return config
