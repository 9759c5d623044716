"""Default configuration of a study: the vanilla Transformer at four laptop sizes.

A study of your own is a file with a function `get_config` that changes these values.
`tools/README.md` describes them; the options of `clinometer study` and
`--config.KEY=VALUE` take precedence over the file.
"""

import dataclasses

from ml_collections import config_dict

from clinometer.tools.study import protocol as protocol_lib


def get_config() -> config_dict.ConfigDict:
    """Returns the default configuration of a study."""
    config = config_dict.ConfigDict()
    config.architectures = ("transformer",)
    config.sizes = ("pico", "nano", "micro", "milli")  # From small to large.
    config.store = config_dict.placeholder(str)  # None is the embedded corpus.
    config.claims = config_dict.placeholder(str)  # A file with get_claims().
    config.records = config_dict.placeholder(str)  # A folder for the numbers.

    config.design = config_dict.ConfigDict()
    config.design.role = "final"
    # Either seeds, with one order of the data for all runs: every size is trained with
    # `seeds`, and the first one (or both ends) with `replicate`, too.
    config.design.seeds = (0,)
    config.design.replicate = (1,)
    config.design.replicate_largest = False
    # Or orders of the data: for each size, how many, and in each of them this many
    # initializations. Pass k trains every size that has a k-th order.
    config.design.orders = ()
    config.design.initializations = 1
    # Architecture -> its own sizes, orders or initializations.
    config.design.by_architecture = config_dict.ConfigDict()

    protocol = protocol_lib.Protocol()
    config.protocol = config_dict.ConfigDict()
    # None takes each run's rate from the table of tuned rates; a number is the peak
    # learning rate of all runs.
    config.protocol.learning_rate = config_dict.placeholder(float)
    config.protocol.rates = config_dict.placeholder(str)  # None is OUT's or ours.
    config.protocol.extrapolate = False  # Rates of widths beyond the swept ones.
    for field, value in _fields(protocol).items():
        if field != "downstream":
            config.protocol[field] = value
    config.downstream = config_dict.ConfigDict()
    for field, value in _fields(protocol.downstream).items():
        empty = value is None
        config.downstream[field] = config_dict.placeholder(str) if empty else value
    return config


def _fields(settings: object) -> dict[str, object]:
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
