"""Says what a mesh does: where the parts are and how many bytes a device holds."""

from collections.abc import Mapping
import math
from typing import Any

import jax

from clinometer.kernels import terminal
from clinometer.train.run import record as run_record
from clinometer.train.sharding import placement as placement_lib


def describe(placement: placement_lib.Placement) -> run_record.Mesh:
    """Returns the entry `mesh` of the run's record.

    Args:
        placement: where the run's arrays are.
    """
    sizes = placement.sizes
    return run_record.Mesh(
        data=sizes.data,
        fsdp=sizes.fsdp,
        expert=sizes.expert,
        model=sizes.model,
        processes=jax.process_count(),
        params_bytes_per_device=bytes_per_device(placement.state.params),
        slots_bytes_per_device=bytes_per_device(placement.state.optimizer),
    )


def bytes_per_device(tree: Any) -> int:
    """Returns the bytes of a tree of arrays that one device holds.

    Args:
        tree: arrays, real or abstract, with shardings that divide them evenly.
    """
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def table(placement: placement_lib.Placement, compiled: jax.stages.Compiled) -> str:
    """Returns the text that a run prints at its start.

    Args:
        placement: where the run's arrays are.
        compiled: the train step.

    Returns:
        The bytes that a device holds and, if there are several devices, the mesh and
        a line for each partition rule.
    """
    mesh = describe(placement)
    parts = {
        "parameters": mesh.params_bytes_per_device,
        "optimizer slots": mesh.slots_bytes_per_device,
    }
    activations = activation_bytes(compiled)
    if activations is not None:
        parts["activations and other temporaries"] = activations
    held = ", ".join(f"{size(part)} of {name}" for name, part in parts.items())
    count = placement.sizes.devices
    processes = "1 process" if mesh.processes == 1 else f"{mesh.processes} processes"
    if count == 1:
        return f"1 device: {held}"
    lines = terminal.table(
        [
            (rule, str(leaves), size(whole), size(part))
            for rule, (leaves, whole, part) in _by_rule(placement).items()
        ],
        ("rule", "parameters", "size", "a device"),
        left=(0,),
    )
    return "\n".join(
        [
            f"{count} devices of {processes}: {placement.sizes}",
            f"each device: {held}",
            *lines,
        ]
    )


def activation_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Returns the temporary bytes of a program on one device; None if unknown.

    Args:
        compiled: the program.
    """
    analysis = compiled.memory_analysis()
    return None if analysis is None else analysis.temp_size_in_bytes


def _by_rule(
    placement: placement_lib.Placement,
) -> Mapping[str, tuple[int, int, int]]:
    """Returns the parameters, bytes and bytes a device of each rule, largest first."""
    found: dict[str, tuple[int, int, int]] = {}
    for module, leaves in placement.state.params.items():
        for name, leaf in leaves.items():
            rule = placement.rules.rule_of(placement.axes[module][name])
            count, whole, part = found.get(rule, (0, 0, 0))
            whole += leaf.size * leaf.dtype.itemsize
            found[rule] = count + 1, whole, part + bytes_per_device(leaf)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def size(number: int) -> str:
    """Formats a number of bytes, such as "1.5 MB".

    Args:
        number: number of bytes.
    """
    power = max(1, min(4, (len(str(number)) - 1) // 3))
    return f"{number / 1000**power:,.1f} {'kMGT'[power - 1]}B"
