"""Memory of one device: how much there is, and how much a run's programs need."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax

from clinometer.train import errors
from clinometer.train.host import free_memory
from clinometer.train.hosts import group as group_lib
from clinometer.train.sharding import summary

_EXHAUSTED = "RESOURCE_EXHAUSTED"  # JAX has no class of its own for this error.


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes of one device that a program needs while it runs.

    Attributes:
        held: of arguments and outputs; what is shared by both counts once.
        temporary: of activations and other temporaries.
    """

    held: int
    temporary: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.held + self.temporary


def of_any_device(config: Mapping[str, Any], group: group_lib.Group) -> int | None:
    """Returns the bytes of memory that each device has; None if one does not say.

    Args:
        config: the configuration, of which `device_memory_bytes` is read; None asks
            the devices. CPU devices share the available memory of the host.
        group: the processes of the run, all of which call it.
    """
    if config["device_memory_bytes"] is not None:
        return config["device_memory_bytes"]
    found = group.gather(_of_own_devices())
    return None if None in found else min(found)


def _of_own_devices() -> int | None:
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        available = free_memory.available()
        return None if available is None else available // len(devices)
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
    return min(limits) if all(limits) else None


def of_train_step(train_step: jax.stages.Compiled) -> Need:
    """Returns what the train step needs.

    Args:
        train_step: the compiled train step.

    Raises:
        RunError: the compiler does not say.
    """
    return _of_program(train_step)


def of_eval_step(eval_step: jax.stages.Compiled, state: Any) -> Need:
    """Returns what the evaluation step needs, with the optimizer slots held beside it.

    Args:
        eval_step: the compiled evaluation step.
        state: the training state; may be abstract, with shardings.

    Raises:
        RunError: the compiler does not say.
    """
    need = _of_program(eval_step)
    slots = summary.bytes_per_device(state.optimizer)
    return dataclasses.replace(need, held=need.held + slots)


def is_exhausted(error: BaseException) -> bool:
    """Returns whether an error says that the memory of a device does not suffice.

    Args:
        error: raised by compiling or running a program.
    """
    return isinstance(error, jax.errors.JaxRuntimeError) and _EXHAUSTED in str(error)


def _of_program(program: jax.stages.Compiled) -> Need:
    found = program.memory_analysis()
    if found is None:
        raise errors.RunError(
            f"the compiler for {jax.local_devices()[0].device_kind} does not say how "
            "much memory a program needs; accepted: config.microbatch=fixed"
        )
    held = found.argument_size_in_bytes + found.output_size_in_bytes
    return Need(held - found.alias_size_in_bytes, found.temp_size_in_bytes)
