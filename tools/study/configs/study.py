"""Default configuration of a study: the vanilla Transformer at four laptop sizes.

A study of your own is a file with a function `get_config` that changes these values.
`tools/README.md` describes them; the options of `clinometer study` and
`--config.KEY=VALUE` take precedence over the file.
"""

import dataclasses

from ml_collections import config_dict

from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study.engines import settings as engine_settings
from clinometer.tools.study.power import settings


def get_config() -> config_dict.ConfigDict:
    """Returns the default configuration of a study."""
    config = config_dict.ConfigDict()
    config.architectures = ("transformer",)
    # From small to large: two layers with d_model 16, 32, 64 and 128, the ladder of the
    # first published study, whose tuned rates are shipped.
    config.sizes = ("DM16-NH1-FF64-PI", "pico", "DM64-NH4-FF256-PI", "milli")
    config.store = config_dict.placeholder(str)  # None is the embedded corpus.
    config.claims = config_dict.placeholder(str)  # A file with get_claims().
    config.records = config_dict.placeholder(str)  # A folder for the numbers.

    config.design = config_dict.ConfigDict()
    config.design.role = "final"
    # Either orders of the data: how many, one number for all sizes or one for each, and
    # in each order this many initializations. Pass k trains every size that has a k-th
    # order. Of six designs of at most 12 minutes on two cores, none had a narrower
    # interval of the gain from the smallest to the largest size (`--power`).
    config.design.orders = (2,)
    config.design.first_order = 1
    config.design.initializations = 1
    # Or seeds, with one order of the data for all runs: every size is trained with
    # `seeds`, and the first one (or both ends) with `replicate`, too.
    config.design.seeds = ()
    config.design.replicate = ()
    config.design.replicate_largest = False
    # Architecture -> its own sizes, orders or initializations.
    config.design.by_architecture = config_dict.ConfigDict()
    # Largest difference in nats that would not matter, written before the runs.
    config.design.margin = config_dict.placeholder(float)

    # Where the runs are trained; it changes no result.
    config.executor = engine_settings.default()

    protocol = protocol_lib.Protocol()
    config.protocol = config_dict.ConfigDict()
    # None takes each run's rate from the table of tuned rates; a number is the peak
    # learning rate of all runs.
    config.protocol.learning_rate = config_dict.placeholder(float)
    config.protocol.rates = config_dict.placeholder(str)  # None is OUT's or ours.
    config.protocol.extrapolate = False  # Rates of widths beyond the swept ones.
    for field, value in _fields(protocol).items():
        if field not in ("downstream", "further", "images", "fewshot"):
            config.protocol[field] = value
    groups = {
        "downstream": protocol.downstream,
        "images": protocol.images,  # Of the kind "images" only, like the next.
        "fewshot": protocol.fewshot,
        "power": settings.PowerSettings(),
    }
    for group, values in groups.items():
        config[group] = config_dict.ConfigDict()
        for field, value in _fields(values).items():
            empty = value is None
            config[group][field] = config_dict.placeholder(str) if empty else value
    # Name -> a further fine-tuning: fields that differ from `downstream`, and `models`,
    # the models that get it (all without it).
    config.finetunings = config_dict.ConfigDict()
    # Model -> what readers of its results must know.
    config.notes = config_dict.ConfigDict()
    return config


def _fields(settings: object) -> dict[str, object]:
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
