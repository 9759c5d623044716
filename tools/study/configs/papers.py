"""The protocols of the two papers' experiments, and of their versions for two cores.

`paper_a.py` and `paper_b.py` begin with one of these configurations.
"""

from ml_collections import config_dict

from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study.configs import study
from clinometer.train import errors

SCALES = PUBLISHED, LAPTOP = ("published", "laptop")


def get(scale: str) -> config_dict.ConfigDict:
    """Returns the configuration of a scale, without models.

    Args:
        scale: one of `SCALES`.

    Raises:
        ConfigError: there is no such scale.
    """
    if scale not in SCALES:
        raise errors.ConfigError(
            f"--config: unknown scale {scale!r} after the colon; accepted: "
            f"{', '.join(SCALES)}"
        )
    return published() if scale == PUBLISHED else laptop()


def published() -> config_dict.ConfigDict:
    """Returns the papers' protocol: once each, in one order of the data.

    The trainer's defaults have the rest of it: Adafactor, 1 / sqrt(max(step, 10^4)),
    span corruption, the intervals of evaluation and checkpoints, and model parallelism.
    """
    config = study.get_config()
    config.design.orders = (1,)
    protocol = config.protocol
    protocol.kind = protocol_lib.PAPERS
    protocol.learning_rate = 1.0  # Times the schedule.
    protocol.vocab_size = 32_128  # 32,000 pieces and 100 sentinels, rounded up.
    protocol.train_steps = 2**19
    protocol.batch_size = 128
    protocol.encoder_length = 512
    protocol.dropout_rate = 0.1
    protocol.dtype = "bfloat16"
    protocol.scan_layers = True
    downstream = config.downstream
    downstream.mixture = "glue_superglue_squad"
    downstream.train_steps = 100_000
    downstream.learning_rate = 1e-3
    downstream.rows = downstream.examples = 128
    downstream.decoder_length = 114
    return config


def laptop() -> config_dict.ConfigDict:
    """Returns a protocol that shows the parts of a paper's study on two cores.

    Most of the time goes into compiling, once for each model and fine-tuning, so the
    rule for models is about their number: pico and nano in place of the paper's sizes;
    each part of the paper (depth, width, another operator) with one value around pico;
    twice each only the vanilla models that the error between runs is taken from. With
    these, no claim lacks its models. 100 steps, then 30 of fine-tuning.

    Runs are far too short for the papers' questions; one rate for all sizes is not
    tuned. Their claims are judged all the same, by the errors between these runs.
    """
    config = study.get_config()
    config.protocol.train_steps = 100
    config.protocol.learning_rate = 0.01
    config.protocol.scan_layers = True
    config.downstream.train_steps = 30
    return config
