"""What all runs of a study share: the first study's protocol, as trainer overrides.

Sized for a laptop: short sequences, a small vocabulary, no dropout. Runs this short are
limited by their number of updates, not by their size, so batches are small and the
learning rate decays to nothing. A fit over them ranks these runs, not what the sizes
could reach with training to convergence.
"""

import dataclasses

from clinometer import models
from clinometer.tools.study import plan
from clinometer.train.configs import pretrain

CONFIG = pretrain.__file__  # not one of that name in the working directory
VOCAB_SIZE = 2048
NEVER_FACTOR = 1 << 20


@dataclasses.dataclass(frozen=True)
class DownstreamSettings:
    """Settings of the one short fine-tuning that each run gets."""

    # Of the probes' rates, where nano beats the majority on two within 900 steps.
    # Acceptability is learned late and at once, and later the more else there is: at
    # this rate by nano, micro and milli, at 0.01 by pico, nano and micro.
    mixture: str = "acceptability=8,cloze=1,same_document=0.2"  # "" for none
    data: str | None = None  # folder of the releases; the probes need none
    train_steps: int = 900
    learning_rate: float = 0.006
    rows: int = 8  # of a batch, each of several examples
    examples: int = 32  # of a batch, where each needs a row of its own
    decoder_length: int = 32

    def settings(self) -> dict[str, object]:
        """Config key -> value, but for what depends on the run."""
        steps = self.train_steps
        return {
            "train_steps": steps,
            "data.decoder_length": self.decoder_length,
            "schedule.name": "constant",
            "schedule.learning_rate": self.learning_rate,
            "optimizer.min_dim_size_to_factor": NEVER_FACTOR,
            "eval.every_steps": steps,  # decoding takes as long as a hundred steps
            "checkpoint.every_steps": max(1, steps // 3),
            "log.every_steps": max(1, steps // 30),
            "log.health_every_steps": max(1, steps // 6),
        }


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Settings shared by all runs; the defaults are the first study's."""

    # Tried on the embedded corpus at equal tokens: smaller batches end lower.
    train_steps: int = 3000
    batch_size: int = 4
    encoder_length: int = 128  # With 29 in the decoder, from 141 raw tokens.
    dropout_rate: float = 0.0
    dtype: str = "float32"
    # The rate at which sizes differ most beside what chance does. With 0.014, 0.01 and
    # 0.006, pico ends at 4.35 (3,600 steps), 4.44 and 4.65 nats, milli gains 0.018,
    # 0.036 and 0.085 on micro, and two seeds of pico differ by 0.020, 0.021 and 0.031.
    # Every size would end lower at a higher rate; what is compared is the sizes.
    learning_rate: float = 0.006
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.5
    downstream: DownstreamSettings = DownstreamSettings()

    def settings(self) -> dict[str, object]:
        """Config key -> value, for everything but model, seeds and store."""
        steps = self.train_steps
        return {
            "train_steps": steps,
            "model.dropout_rate": self.dropout_rate,
            "model.dtype": self.dtype,
            "data.batch_size": self.batch_size,
            "data.encoder_length": self.encoder_length,
            "schedule.name": "wsd",
            "schedule.learning_rate": self.learning_rate,
            "schedule.warmup_fraction": self.warmup_fraction,
            "schedule.decay_fraction": self.decay_fraction,
            # At d_model 128 Adafactor would factor milli's second moments alone.
            "optimizer.min_dim_size_to_factor": NEVER_FACTOR,
            "eval.every_steps": max(1, steps // 2),
            "checkpoint.every_steps": max(1, steps // 4),
            # 30 windows of speed; the trainer drops the first two.
            "log.every_steps": max(1, steps // 30),
            "log.health_every_steps": max(1, steps // 6),
        }


def config_argument(run: plan.PlannedRun) -> str:
    """The trainer's --config value for a run."""
    return f"{CONFIG}:{run.model}"


def overrides(protocol: Protocol, run: plan.PlannedRun, store: str) -> list[str]:
    """The trainer's arguments after --config: `--config.key=value`, in a fixed order.

    Every run sees the same batches in the same order, and a seed draws initialisation
    and dropout: the spread between two seeds is the noise in a comparison of sizes.
    """
    values = {
        "seed": run.seed,
        "data.store": store,
        **protocol.settings(),
    }
    return [f"--config.{key}={value}" for key, value in values.items()]


def downstream_overrides(protocol: Protocol, run: plan.PlannedRun) -> list[str]:
    """The arguments of `clinometer finetune` for a run, after its flags."""
    kind = models.architecture_of(run.model)
    downstream = protocol.downstream
    values = {
        "seed": run.seed,
        **downstream.settings(),
        "data.encoder_length": protocol.encoder_length,
        "data.packing": kind.packs,
        "data.batch_size": downstream.rows if kind.packs else downstream.examples,
        **{f"model.{field}": protocol.dropout_rate for field in kind.dropout_rates},
    }
    return [f"--config.{key}={value}" for key, value in values.items()]
