"""A part of the first study: how fast each model trains, one at a time (`--jobs 1`).

`clinometer report` takes the speeds of the study from it. Its losses, after few steps
with one untuned rate, are used by nothing: the runs are a pilot's.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import first_study


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the part."""
    config = first_study.get_config()
    config.claims = None
    config.downstream.mixture = ""
    config.design.role = "pilot"
    config.design.orders = (1,)
    with config.unlocked():
        config.design.by_architecture = config_dict.ConfigDict()
    config.protocol.learning_rate = 0.006
    # Windows of 16 steps, of which 29 count; a speed needs 20.
    config.protocol.train_steps = 500
    return config
