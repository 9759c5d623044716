"""Lowers programs of every operation for TPU chips, without having one."""

from collections.abc import Callable
import hashlib
import json
import os
from typing import Any

import jax
from jax.experimental import topologies

from clinometer import kernels
from clinometer.kernels.tpu import chips
from clinometer.tests.kernels import every_op
from clinometer.tools.plan import compiler

CHIPS = tuple(chips.CHIPS[name] for name in ("v4", "v5e", "v6e"))


def programs() -> dict[str, tuple[Callable[..., Any], list[jax.Array]]]:
    """Returns every operation's forward pass, and output and gradients, by name."""
    found = {}
    for name, (function, operands) in every_op.calls("auto").items():

        def step(*operands, function=function):
            output, vjp = jax.vjp(function, *operands)
            return output, *vjp(output)

        found[name, "forward"] = function, operands
        found[name, "gradient"] = step, operands
    return found


def text(
    function: Callable[..., Any],
    operands: list[jax.Array],
    sharding: jax.sharding.Sharding | None,
    kind: str | None = None,
) -> str:
    """Returns a function lowered for TPU, under plain `jax.jit`.

    Args:
        function: of arrays like `operands`.
        operands: their shapes count, and no more.
        sharding: of the operands.
        kind: of device to name; None for that of the program.
    """
    shapes = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) for x in operands
    ]
    # What is cached has the line numbers of its first caller, and a kernel is text too.
    jax.clear_caches()
    with kernels.target(kind):
        traced = jax.jit(function).trace(*shapes)
        return traced.lower(lowering_platforms=("tpu",)).as_text()


def main() -> None:
    """Prints digests of the plain and the targeted form, by program and chip.

    The plain form is lowered for the devices of a topology by `jit(...).lower` alone.
    """
    os.environ |= compiler.ENVIRONMENT
    printed = {}
    for chip in CHIPS:
        device = topologies.get_topology_desc(
            platform="tpu", topology_name=chip.topology
        ).devices[0]
        sharding = jax.sharding.SingleDeviceSharding(device)
        for name, (function, operands) in programs().items():
            shapes = [
                jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
                for x in operands
            ]
            jax.clear_caches()  # As in `text`.
            plain = jax.jit(function).lower(*shapes).as_text()
            targeted = text(function, operands, sharding, chip.device_kind)
            printed[" ".join((*name, chip.name))] = [
                hashlib.sha256(x.encode()).hexdigest() for x in (plain, targeted)
            ]
    print(json.dumps(printed))
