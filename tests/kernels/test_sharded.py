"""Tests `shard_over`: results equal those of one device, and nothing is gathered."""

import jax
import jax.extend
import jax.numpy as jnp
import pytest

from clinometer import kernels
from clinometer.tests.kernels import child
from clinometer.tests.kernels import sharded_ops

MAIN = "from clinometer.tests.kernels import sharded_ops; sharded_ops.main()"


def test_parts_equal_the_whole_without_a_gather():
    results = child.printed(child.run(MAIN, XLA_FLAGS=sharded_ops.FLAGS))
    assert len(results["compared"]) == 19
    for name, result in results["compared"].items():
        assert result["error"] < 2e-4, (name, result)
        assert not result["gathers"], (name, result)
        assert result["same_flops"], name
    assert results["undivided"] > 0
    # The table's gradient is a sum over the batch, and only over it.
    assert results["compared"]["relative_attention batch"]["sums"] == 1
    assert results["compared"]["relative_attention heads"]["sums"] == 0
    assert results["inside"] < 1e-6


def conv(x, weights):
    return kernels.light_conv(x, weights, causal=True)


X, WEIGHTS = jnp.ones((3, 5, 6)), jnp.ones((3, 2))


def mesh(*sizes):
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    return jax.sharding.AbstractMesh(sizes, ("data", "model"), axis_types)


def test_without_a_mesh_the_call_is_direct():
    assert "shard_map" not in str(jax.make_jaxpr(conv)(X, WEIGHTS))
    with kernels.shard_over(mesh(1, 1), batch="data"):
        assert "shard_map" not in str(jax.make_jaxpr(conv)(X, WEIGHTS))
    for axes in ({"batch": "data"}, {}):
        with kernels.shard_over(mesh(3, 1), **axes):
            assert "shard_map" in str(jax.make_jaxpr(conv)(X, WEIGHTS))


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (3, 2)])
def test_no_axis_is_left_to_the_compiler(shape):
    """The TPU compiler refuses kernels that it would have to partition."""
    with kernels.shard_over(mesh(*shape), batch="data"):
        jaxpr = jax.make_jaxpr(conv)(X, WEIGHTS)
    found = []

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "shard_map":
                found.append(equation.params["newly_manual_axes"])
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                visit(inner)

    visit(jaxpr.jaxpr)
    assert found == [{"data", "model"}]


def test_what_does_not_divide_is_an_error():
    with (
        kernels.shard_over(mesh(2, 1), batch="data"),
        pytest.raises(ValueError, match="light_conv: a batch of 3 cannot be divided"),
    ):
        conv(X, WEIGHTS)
    with (
        kernels.shard_over(mesh(1, 2), heads=("model",)),
        pytest.raises(ValueError, match="light_conv: heads of 3 cannot be divided"),
    ):
        conv(X, WEIGHTS)


def test_experts_that_do_not_divide_are_an_error():
    x, w, counts = jnp.ones((1, 6, 4, 8)), jnp.ones((6, 8, 8)), jnp.ones((1, 6), int)
    with (
        kernels.shard_over(mesh(1, 4), experts="model"),
        pytest.raises(ValueError, match="expert_matmul: experts of 6 cannot be div"),
    ):
        kernels.expert_matmul(x, w, counts.astype(jnp.int32), num_tokens=9)


@pytest.mark.parametrize(
    "axes", [{"batch": "rows"}, {"batch": "data", "heads": "data"}]
)
def test_axes_must_be_of_the_mesh(axes):
    with (
        pytest.raises(ValueError, match="the mesh has 'data', 'model'"),
        kernels.shard_over(mesh(1, 1), **axes),
    ):
        pass
