"""The pilot of the first study: it gives the error between runs and the margin.

The margin is a tenth of vanilla's gain from d16 to d128. The orders of the data and the
seeds are others than those of the study, whose runs then don't repeat the pilot's.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import first_study


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the pilot."""
    config = first_study.get_config()
    config.architectures = ("transformer",)
    config.sizes = (first_study.SIZES[0], first_study.SIZES[-1])
    config.claims = None
    config.design.role = "pilot"
    config.design.first_order = 1 + max(config.design.orders)
    config.design.orders = (2, 2)
    with config.unlocked():
        config.design.by_architecture = config_dict.ConfigDict()
    config.design.initializations = 2
    return config
