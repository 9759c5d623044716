"""The first published study: twelve architectures at four laptop sizes.

Each architecture has its own tuned learning rates. The orders of the data are shared by
all of them, and vanilla has three initializations in each. `first_study_claims.py` says
what the study is to decide. The other `first_study_*.py` are its pilot and its parts,
which are studies of their own with some of its settings changed.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import first_study_claims
from clinometer.tools.study.configs import study

ARCHITECTURES = (first_study_claims.VANILLA, *first_study_claims.OTHERS)
# d16, d32, d64 and d128, with two layers.
SIZES = ("DM16-NH1-FF64-PI", "pico", "DM64-NH4-FF256-PI", "milli")
# Those that are also trained with one fixed rate, and on a second text.
CONTROLS = (first_study_claims.VANILLA, *first_study_claims.CONTROLS)


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the study."""
    config = study.get_config()
    config.architectures = ARCHITECTURES
    config.sizes = SIZES
    config.claims = first_study_claims.__file__
    config.design.orders = (6, 2, 1, 3)
    with config.unlocked():
        config.design.by_architecture.transformer = {"initializations": 3}
        # Its d16 and d64 are at the ends of the FLOPs that it shares with vanilla.
        config.design.by_architecture.mos = {"orders": (4, 1, 4, 1)}
    config.protocol.train_steps = 3000
    config.protocol.batch_size = 4
    config.protocol.encoder_length = 128
    config.protocol.dtype = "float32"
    config.power.held_out = "transformer-DM256-NH16-FF1024-PI"
    config.downstream.mixture = "cloze"
    return config


def get_controls() -> config_dict.ConfigDict:
    """Returns the study reduced to `CONTROLS`, once in each of the first two orders."""
    config = get_config()
    config.architectures = CONTROLS
    config.downstream.mixture = ""
    config.design.orders = (2,) * len(SIZES)
    with config.unlocked():
        config.design.by_architecture = config_dict.ConfigDict()
    return config
