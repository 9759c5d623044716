"""Learning-rate schedules as traceable functions of the 0-based step."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from clinometer.train import errors

Schedule = Callable[[jax.Array], jax.Array]

NAMES = ("rsqrt", "wsd", "cosine", "linear", "constant")


def depends_on_train_steps(name: str) -> bool:
    """Returns whether the learning rate depends on the length of the run.

    Args:
        name: one of `NAMES`.
    """
    return name in ("wsd", "cosine", "linear")


def make(config: Mapping[str, Any], train_steps: int) -> Schedule:
    """Builds a learning-rate schedule.

    - rsqrt: learning_rate / sqrt(max(step, warmup_steps)), the schedule of T5
      (ARCHITECTURES.md#training-schedule).
    - wsd (warmup, stable, decay): linear warmup over warmup_fraction of the run,
      constant, then linear decay over the last decay_fraction of the run to
      final_fraction of the peak, reached at train_steps. With decay_fraction 0, the
      trunk of branches (see `branch`), whose decay begins where they start.
    - cosine: the same warmup, then half a cosine down to final_fraction of the peak.
    - linear: linear warmup over warmup_steps, then linear decay to final_fraction of
      the peak, reached at train_steps.
    - constant: learning_rate.

    Args:
        config: `config.schedule`.
        train_steps: number of steps in the whole run.

    Returns:
        A traceable function from the 0-based step to the learning rate.

    Raises:
        ConfigError: a field is out of range or the name is unknown.
    """
    name, peak = config["name"], config["learning_rate"]
    if name not in NAMES:
        raise errors.ConfigError(
            f"config.schedule.name: unknown {name!r}; accepted: {', '.join(NAMES)}"
        )
    for field in ("warmup_fraction", "decay_fraction", "final_fraction"):
        if not 0 <= config[field] <= 1:
            raise errors.ConfigError(
                f"config.schedule.{field}: must lie in [0, 1], got {config[field]}"
            )
    if peak <= 0:
        raise errors.ConfigError(
            f"config.schedule.learning_rate: must be positive, got {peak}"
        )
    if name == "rsqrt":
        if config["warmup_steps"] < 1:
            raise errors.ConfigError(
                "config.schedule.warmup_steps: must be at least 1, got "
                f"{config['warmup_steps']}"
            )
        return _rsqrt(peak, config["warmup_steps"])
    if name == "constant":
        return optax.constant_schedule(peak)
    if name == "linear":
        warmup = config["warmup_steps"]
        if warmup >= train_steps:
            raise errors.ConfigError(
                f"config.schedule.warmup_steps: {warmup}; linear accepts less than the "
                f"{train_steps} of config.train_steps"
            )
    else:
        warmup = round(config["warmup_fraction"] * train_steps)
    final = config["final_fraction"] * peak
    # The warmup starts at peak / warmup, not at 0, so that step 0 has an effect.
    ramp = optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1))
    if name == "cosine":
        tail = optax.cosine_decay_schedule(
            peak, max(train_steps - warmup, 1), config["final_fraction"]
        )
        return optax.join_schedules([ramp, tail], [warmup])
    if name == "linear":
        fall = optax.linear_schedule(peak, final, train_steps - warmup)
        return optax.join_schedules([ramp, fall], [warmup])
    decay = round(config["decay_fraction"] * train_steps)
    if warmup + decay > train_steps:
        raise errors.ConfigError(
            "config.schedule: warmup_fraction and decay_fraction add up to more than 1 "
            f"({config['warmup_fraction']} + {config['decay_fraction']})"
        )
    return optax.join_schedules(
        [
            ramp,
            optax.constant_schedule(peak),
            optax.linear_schedule(peak, final, max(decay, 1)),
        ],
        [warmup, train_steps - decay],
    )


def _rsqrt(base: float, warmup_steps: int) -> Schedule:
    def schedule(step: jax.Array) -> jax.Array:
        return base / jnp.sqrt(
            jnp.maximum(jnp.asarray(step, jnp.float32), warmup_steps)
        )

    return schedule
