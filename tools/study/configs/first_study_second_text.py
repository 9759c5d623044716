"""A part of the first study: four architectures on another text, given by --store.

The learning rates are those tuned on the embedded corpus.
"""

from ml_collections import config_dict

from clinometer.tools.study.configs import first_study


def get_config() -> config_dict.ConfigDict:
    """Returns the configuration of the part."""
    return first_study.get_controls()
