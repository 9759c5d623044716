"""What all runs of a study share: the first study's protocol, as trainer overrides.

Sized for a laptop: short sequences, a small vocabulary, no dropout. Runs this short are
limited by their number of updates, not by their size, so batches are small and the
learning rate decays to nothing. A fit over them ranks these runs, not what the sizes
could reach with training to convergence.
"""

import dataclasses

from clinometer.tools.study import plan

CONFIG = "train/configs/pretrain.py"
VOCAB_SIZE = 2048
NEVER_FACTOR = 1 << 20


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Settings shared by all runs; the defaults are the first study's."""

    # Tried on the embedded corpus at equal tokens: batches of 16, 8 and 4 end pico at
    # 4.44, 4.36 and 4.32 nats, and two seeds differ by 0.030, 0.016 and 0.008.
    train_steps: int = 3000
    batch_size: int = 4
    encoder_length: int = 128  # With 29 in the decoder, from 141 raw tokens.
    dropout_rate: float = 0.0
    dtype: str = "float32"
    # T5's own. Tried at batch 4, 2,400 steps: pico ends at 4.53, 4.34, 4.32 and 4.66
    # nats with 0.01, 0.02, 0.03 and 0.1, but above 0.01 milli gains little on micro.
    learning_rate: float = 0.01
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.5

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
