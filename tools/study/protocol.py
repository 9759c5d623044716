"""What all runs of a study share: the first study's protocol, as trainer overrides.

Sized for a laptop: short sequences, a small vocabulary, no dropout. In runs this short
the learning rate decides, so its schedule ends in a decay; a fit over them ranks these
runs, not what the sizes could reach with training to convergence.
"""

import dataclasses

from clinometer.tools.study import plan

CONFIG = "train/configs/pretrain.py"
VOCAB_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Settings shared by all runs; the defaults are the first study's."""

    train_steps: int = 600
    batch_size: int = 16
    encoder_length: int = 128  # With 29 in the decoder, from 141 raw tokens.
    dropout_rate: float = 0.0
    dtype: str = "float32"
    learning_rate: float = 0.03
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.3

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
            "eval.every_steps": max(1, steps // 3),
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

    A second seed draws another initialisation and another order of the data, so the
    spread between two seeds holds both.
    """
    values = {
        "seed": run.seed,
        "data.seed": run.seed,
        "data.store": store,
        **protocol.settings(),
    }
    return [f"--config.{key}={value}" for key, value in values.items()]
