"""Compiles programs in bfloat16 and prints their products; see `test_bfloat16.py`.

Run with XLA's default settings: with those of the other tests, which compile faster,
XLA multiplies bfloat16 in float32.

Shapes: R rows, N width, L layers.
"""

from collections.abc import Callable
import json
import re
from typing import Any

import jax
import jax.numpy as jnp

from clinometer import kernels
from clinometer import models
from clinometer.models.layers import products
from clinometer.tests.models import every_architecture

WIDTH, LAYERS = 16, 3
SETTINGS = {
    "plain": {},
    "scanned": {"scan_layers": True, "remat": "layer"},
    "dots": {"scan_layers": True, "remat": "dots"},
}
BATCHES = {"plain": 4, "scanned": 1, "dots": 4}

_OPERAND = re.compile(r"(%[\w.-]+) = (\w+)\[")
_PRODUCT = re.compile(
    r"= (\w+)\[\S* (?:dot|convolution)\((%\S+), (%\S+)\), (?:lhs_contracting_dims="
    r"\{([\d,]+)\})?"
)


def dense_layers(rows: int, transpose_kernel: bool) -> None:
    """Prints the products of scanned layers with their gradients and update."""

    def update(weights: jax.Array, x: jax.Array) -> jax.Array:  # [L, N, N], [R, N]
        def layer(x: jax.Array, kernel: jax.Array) -> Any:
            y = products.dense(x, kernel, transpose_kernel=transpose_kernel)
            return jnp.tanh(y), None

        def loss(weights: jax.Array) -> jax.Array:
            y, _ = jax.lax.scan(layer, x, weights)
            return jnp.sum(y.astype(jnp.float32))

        return weights - jax.grad(loss)(weights)

    x = jnp.ones((rows, WIDTH), jnp.bfloat16)
    print(json.dumps(_products(update, jnp.ones((LAYERS, WIDTH, WIDTH)), x)))


def architecture(label: str) -> None:
    """Prints the products of an example's gradients, for all `SETTINGS`."""
    (example,) = (x for x in every_architecture.EXAMPLES if x.label == label)
    found = {}
    for name, settings in SETTINGS.items():
        model = example.build(dtype="bfloat16", dropout_rate=0.1, **settings)
        params = model.init(jax.random.key(0))
        if model.config.scan_layers:
            params = models.stack_params(params)
        shape = models.TextShape(every_architecture.S, every_architecture.T)
        batch = model.random_batch(0, BATCHES[name], shape)

        def gradients(params: Any, batch: Any, model: Any = model) -> Any:
            def loss(params: Any) -> jax.Array:
                return model.loss(params, batch, jax.random.key(1)).sums.loss_sum

            return jax.value_and_grad(loss)(params)

        found[name] = _products(gradients, params, batch)
    print(json.dumps(found))


def collectives(transpose_kernel: bool) -> None:
    """Prints what four devices exchange for a layer and its gradients."""
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=axis_types)

    def sharding(*names: str | None) -> jax.sharding.NamedSharding:
        return jax.NamedSharding(mesh, jax.P(*names))

    def gradients(x: jax.Array, kernel: jax.Array) -> Any:
        def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
            y = products.dense(x, kernel, transpose_kernel=transpose_kernel)
            y = kernels.constrain(y, ("batch", None, "heads"))
            return jnp.sum(jnp.sin(y.astype(jnp.float32)))

        return jax.grad(loss, (0, 1))(x, kernel)

    over_outputs = ("model", None) if transpose_kernel else (None, "model")
    x = jax.ShapeDtypeStruct(
        (8, 4, WIDTH), jnp.bfloat16, sharding=sharding("data", None, None)
    )
    kernel = jax.ShapeDtypeStruct(
        (WIDTH, WIDTH), jnp.float32, sharding=sharding(*over_outputs)
    )
    with kernels.shard_over(mesh, batch="data", heads="model"):
        jitted = jax.jit(gradients, out_shardings=(x.sharding, kernel.sharding))
        text = jitted.lower(x, kernel).compile().as_text()
    print(json.dumps(re.findall(r"= \S+ ((?:all|collective|reduce)-[a-z-]+)\(", text)))


def _products(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Compiles, runs and describes a function.

    Returns:
        Whether all results are finite; and for each product the dtypes of its operands
        and result, and the axis of the left operand that is contracted.
    """
    compiled = jax.jit(function).lower(*arguments).compile()
    results = jax.tree.leaves(compiled(*arguments))
    found = []
    for computation in compiled.as_text().split("\n\n"):
        dtypes = dict(_OPERAND.findall(computation))
        for result, left, right, axis in _PRODUCT.findall(computation):
            found.append([dtypes[left], dtypes[right], result, axis])
    finite = all(bool(jnp.isfinite(x).all()) for x in results)
    return {"finite": finite, "products": found}
