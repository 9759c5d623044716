"""Tests what each policy recomputes, by the FLOPs of a gradient."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import cost
from clinometer.models.layers import parameters
from clinometer.models.layers import remat

ROWS, LENGTH, WIDTH = 2, 3, 5
DENSE = 2 * ROWS * LENGTH * WIDTH * WIDTH
MIXED = 2 * ROWS * LENGTH * LENGTH * WIDTH


def function(policy):
    """A dense layer, a product of examples with themselves, and a dense layer."""

    def layer(x):
        y = jnp.sin(parameters.dense("wi", x, WIDTH, ("embed", "mlp")))
        y = jnp.sin(jnp.einsum("bsd,btd->bst", y, y) @ y)
        return jnp.sin(parameters.dense("wo", y, WIDTH, ("mlp", "embed")))

    class Layer(hk.Module):
        def __call__(self, x):
            return remat.wrap(layer, policy)(x)

    return hk.without_apply_rng(hk.transform(lambda x: Layer(name="layer")(x)))


@pytest.mark.parametrize(
    ("policy", "recomputed"),
    [("none", 0), ("dots", 2 * MIXED), ("layer", 2 * MIXED + 2 * DENSE)],
)
def test_dense_products_are_kept_by_name(policy, recomputed):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, LENGTH, WIDTH)))
    params = function("none").init(jax.random.key(0), x)

    def gradients(policy):
        def loss(params, x):
            return jnp.sum(function(policy).apply(params, x))

        return jax.jit(jax.value_and_grad(loss, (0, 1)))

    # Forward, and the gradients of both operands of every product.
    flops = cost.count_flops(gradients(policy), params, x)
    assert flops == 3 * (2 * DENSE + 2 * MIXED) + recomputed
    got, want = gradients(policy)(params, x), gradients("none")(params, x)
    # The same operations, in an order that the compiler may change.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, want)
