"""Compares all operations on several devices with one, in a process with four."""

from collections.abc import Callable
from collections.abc import Sequence
import json
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np

from clinometer import kernels
from clinometer.kernels import cost
from clinometer.tests.kernels import every_op

FLAGS = "--xla_force_host_platform_device_count=4"
# Operands that all examples share, at the end.
SHARED = {"light_conv": 1, "switch": 2} | dict.fromkeys(
    ("relative_attention", "relative_attention_causal"), 1
)


def mesh(*sizes: int, names: Sequence[str] = ("data", "model")) -> jax.sharding.Mesh:
    """Returns a mesh of axes "data" and "model", or of others."""
    count = int(np.prod(sizes))
    return jax.make_mesh(
        sizes,
        tuple(names),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=jax.devices()[:count],
    )


def abstract_mesh(*sizes: int) -> jax.sharding.AbstractMesh:
    """Returns a mesh of axes "data" and "model" without devices, to trace over."""
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    return jax.sharding.AbstractMesh(sizes, ("data", "model"), axis_types)


LAYOUTS = {"batch": (2, 1), "heads": (1, 2), "both": (2, 2)}


def specs(name: str, operands: Sequence[jax.Array]) -> list[P]:
    """Returns the partition specs of a call's operands."""
    count = len(operands) - SHARED.get(name, 0)
    if name == "switch":
        return [P("data")] * count + [P()] * SHARED["switch"]
    # [B, S, H, ...], or channels for heads; tables and filters by heads.
    return [P("data", None, "model")] * count + [P("model")] * SHARED.get(name, 0)


def place(
    mesh: jax.sharding.Mesh, specs: Sequence[P], arrays: Sequence[Any]
) -> list[jax.Array]:
    """Puts arrays on a mesh."""
    return [
        jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
        for x, spec in zip(arrays, specs, strict=True)
    ]


def compare(
    step: Callable[..., Any],
    operands: Sequence[Any],
    placed: Sequence[Any],
    mesh: Any,
    **over: str | Sequence[str],
) -> dict[str, Any]:
    """Returns the largest error on several devices, and facts about their program."""
    over = {"batch": "data"} | (over or {"heads": "model"})
    want = jax.tree.leaves(jax.jit(step)(*operands))
    with kernels.shard_over(mesh, **over):
        compiled = jax.jit(step).lower(*placed).compile()
        got = jax.tree.leaves(compiled(*placed))
        flops = cost.count_flops(step, *operands)
    text = compiled.as_text()
    return {
        "error": max(
            float(np.abs(np.asarray(a) - np.asarray(b)).max())
            for a, b in zip(got, want, strict=True)
        ),
        "gathers": text.count(" all-gather"),
        "sums": text.count(" all-reduce("),
        "exchanges": text.count(" all-to-all("),
        "same_flops": flops == cost.count_flops(step, *operands),
    }


def operation(name: str, layout: str) -> dict[str, Any]:
    """Compares output and gradients of one of `every_op.calls`."""
    function, operands = every_op.calls("auto")[name]

    def step(*operands: jax.Array) -> Any:
        output, vjp = jax.vjp(function, *operands)
        return output, *vjp(jnp.cos(output))

    axes = mesh(*LAYOUTS[layout])
    return compare(step, operands, place(axes, specs(name, operands), operands), axes)


def layer_stack() -> dict[str, Any]:
    """Compares gradients of a stack of rematerialized layers, over batch and heads."""
    heads, width = 2, 8

    def layer(x: jax.Array) -> jax.Array:
        table = hk.get_parameter("table", (heads, 32), init=hk.initializers.Constant(1))
        taps = hk.get_parameter("taps", (heads, 3), init=hk.initializers.Constant(0.3))
        qkv = x.reshape(*x.shape[:2], heads, width)
        x += kernels.relative_attention(qkv, qkv, qkv, table).reshape(x.shape)
        return x + kernels.light_conv(jnp.tanh(x), taps, causal=True)

    network = hk.without_apply_rng(
        hk.transform(lambda x: hk.layer_stack(3)(hk.remat(layer))(x))
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 9, heads * width)) / 8)
    params = network.init(jax.random.key(0), x)
    step = jax.grad(lambda p, x: jnp.sum(network.apply(p, x) ** 2), argnums=(0, 1))
    axes = mesh(2, 2)
    placed = (
        jax.device_put(params, jax.sharding.NamedSharding(axes, P(None, "model"))),
        *place(axes, [P("data", None, "model")], [x]),
    )
    return compare(step, (params, x), placed, axes)


def vmapped() -> dict[str, Any]:
    """Compares a mapped call, whose filter is shared by some of the gradients."""
    function, (x, weights) = every_op.calls("auto")["light_conv"]

    def step(x: jax.Array, weights: jax.Array) -> Any:
        output, vjp = jax.vjp(jax.vmap(function, (1, None), 1), x, weights)
        return output, *vjp(jnp.cos(output))

    x = jnp.stack([x, jnp.sin(x), 2 * x], axis=1)
    axes = mesh(2, 2)
    where = [P("data", None, None, "model"), P("model")]
    return compare(step, (x, weights), place(axes, where, (x, weights)), axes)


def key_value_heads() -> dict[str, Any]:
    """Compares sharded attention whose key-value heads each serve two heads."""
    rng = np.random.default_rng(0)
    query, key, value = (
        jnp.asarray(rng.normal(size=(4, 11, heads, 8)), jnp.float32)
        for heads in (4, 2, 2)
    )

    def step(*operands: jax.Array) -> Any:
        output, vjp = jax.vjp(kernels.relative_attention, *operands)
        return output, *vjp(jnp.cos(output))

    axes = mesh(2, 2)
    operands = (query, key, value)
    placed = place(axes, [P("data", None, "model")] * 3, operands)
    return compare(step, operands, placed, axes)


def experts() -> dict[str, Any]:
    """Compares the experts' products and gradients, over groups and over experts."""
    rng = np.random.default_rng(0)
    x, w = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((4, 6, 5, 8), (6, 8, 7))
    )
    counts = jnp.asarray(rng.integers(0, 6, (4, 6)), jnp.int32)

    def step(x: jax.Array, w: jax.Array, counts: jax.Array) -> Any:
        def product(x: jax.Array, w: jax.Array) -> jax.Array:
            return kernels.expert_matmul(x, w, counts, num_tokens=20)

        output, vjp = jax.vjp(product, x, w)
        return output, *vjp(jnp.cos(output))

    axes = mesh(2, 2)
    where = [P("data", "model"), P("model"), P("data", "model")]
    operands = (x, w, counts)
    placed = place(axes, where, operands)
    return compare(step, operands, placed, axes, experts="model")


def feed_forward(**over: str | Sequence[str]) -> dict[str, Any]:
    """Compares routed experts with dropout, and all gradients, with parameters sharded.

    The mesh is 2 x 2; its second axis shards the experts, or the hidden width if it is
    that of the heads.
    """
    capacity, num_experts, tokens, width, hidden = 5, 4, 12, 8, 6
    rng = np.random.default_rng(0)
    shapes = (4, tokens, num_experts), (4, tokens, width)
    shapes += (num_experts, width, hidden), (num_experts, hidden, width)
    operands = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]

    def layer(
        logits: jax.Array, x: jax.Array, wi: jax.Array, wo: jax.Array
    ) -> jax.Array:
        route = kernels.switch_route(logits, capacity=capacity)
        rows = kernels.switch_dispatch(
            x, route.slot, num_experts=num_experts, capacity=capacity
        )
        y = kernels.expert_feed_forward(
            *(rows, wi, wo, route.counts),
            num_tokens=tokens,
            dropout_rate=0.2,
            dropout_key=jax.random.key(0),
        )
        return kernels.switch_combine(y, route.slot, route.gate)

    def step(*operands: jax.Array) -> Any:
        output, vjp = jax.vjp(layer, *operands)
        return output, *vjp(jnp.cos(output))

    axes = mesh(2, 2, names=("data", "second"))
    groups = P(over.get("batch", "data"))
    by_expert, by_hidden = over.get("experts"), over.get("heads")
    where = [groups, groups, P(by_expert, None, by_hidden), P(by_expert, by_hidden)]
    return compare(step, operands, place(axes, where, operands), axes, **over)


def undivided_gathers() -> int:
    """Returns how often XLA gathers without `shard_over`."""
    function, operands = every_op.calls("auto")["dynamic_conv"]
    placed = place(mesh(2, 1), specs("dynamic_conv", operands), operands)
    text = jax.jit(function).lower(*placed).compile().as_text()
    return text.count(" all-gather")


def inside_shard_map() -> float:
    """Returns the error inside the caller's own `shard_map` over the axis."""
    function, (x, weights) = every_op.calls("auto")["dynamic_conv"]
    axes = mesh(2, 1)
    with kernels.shard_over(axes, batch="data"):
        local = jax.shard_map(
            function, mesh=axes, in_specs=P("data"), out_specs=P("data")
        )
        got = jax.jit(local)(x, weights)
    return float(jnp.abs(got - function(x, weights)).max())


def main() -> None:
    """Prints all results, as JSON."""
    results = {
        f"{name} {layout}": operation(name, layout)
        for name in every_op.calls("auto")
        for layout in LAYOUTS
        if not (name == "switch" and layout == "heads")
        if layout != "both" or name in ("switch", "relative_attention")
    }
    results |= {"layer_stack": layer_stack(), "vmap": vmapped(), "experts": experts()}
    results["key_value_heads"] = key_value_heads()
    results["experts of the batch"] = feed_forward(
        batch=("data", "second"), experts="second"
    )
    results["hidden width"] = feed_forward(heads="second")
    others = {"undivided": undivided_gathers(), "inside": inside_shard_map()}
    print(json.dumps({"compared": results} | others))
