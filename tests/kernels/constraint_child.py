"""Runs `constrain` on four devices; see `test_constraint.py`."""

from collections.abc import Callable
import json
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from clinometer import kernels

FLAGS = "--xla_force_host_platform_device_count=4"
ROWS, LENGTH, WIDTH, HIDDEN = 4, 8, 32, 64


def layer(x: jax.Array, w: jax.Array) -> jax.Array:
    """Applies a feed-forward layer to x [..., WIDTH], over rows and hidden width."""
    between = (None,) * (x.ndim - 2)
    h = kernels.constrain(jnp.tanh(x @ w), ("batch", *between, "heads"))
    return kernels.constrain(h @ w.T, ("batch", *between, None))


def looped(x: jax.Array, w: jax.Array) -> jax.Array:
    """Applies the layer three times, in a scan of rematerialized steps."""
    body = jax.checkpoint(lambda x, _: (x + layer(x, w), None))
    return jax.lax.scan(body, x, None, length=3)[0]


def mapped(x: jax.Array, w: jax.Array) -> jax.Array:
    """Maps the loop over the positions, along an axis that is not the first."""
    return jax.vmap(looped, (1, None), 1)(x, w)


def gradients(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Returns the function's gradients with respect to x and w."""
    return jax.grad(lambda x, w: jnp.sum(jnp.sin(function(x, w))), (0, 1))


def main() -> None:
    """Prints errors of each form, and FLOPs a device with and without `shard_over`."""
    mesh = jax.make_mesh(
        (2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )

    def local(x: jax.Array, w: jax.Array) -> jax.Array:
        """Runs the loop inside a `shard_map` over the data only."""
        by_rows = jax.shard_map(
            looped,
            mesh=mesh,
            in_specs=(P("data"), P()),
            out_specs=P("data"),
            axis_names={"data"},
            check_vma=False,
        )
        return jax.jit(by_rows)(x, w)

    size = ROWS * LENGTH * WIDTH
    x = jnp.sin(jnp.arange(float(size))).reshape(ROWS, LENGTH, WIDTH)
    w = jnp.cos(jnp.arange(float(WIDTH * HIDDEN))).reshape(WIDTH, HIDDEN) / 8
    # Nothing else tells the compiler to divide: the operands are on every device.
    replicated = jax.sharding.NamedSharding(mesh, P())
    placed = jax.device_put((x, w), replicated)
    found = {}
    for name, function in (("looped", looped), ("mapped", mapped), ("local", local)):
        steps = {"values": function, "gradients": gradients(function)}
        for kind, step in steps.items():
            with kernels.shard_over(mesh, batch="data", heads="model"):
                divided = jax.jit(step).lower(*placed).compile()
            undivided = jax.jit(step).lower(*placed).compile()
            results = divided(*placed), undivided(*placed)
            pairs = zip(*map(jax.tree.leaves, results), strict=True)
            found[f"{name} {kind}"] = {
                "error": max(float(abs(a - b).max() / abs(b).max()) for a, b in pairs),
                "flops": divided.cost_analysis()["flops"],
                "undivided": undivided.cost_analysis()["flops"],
            }
    print(json.dumps(found))
