"""Tests `shard_over`: results equal those of one device, and nothing is gathered."""

import jax
import jax.extend
import jax.numpy as jnp
import pytest

from clinometer import kernels
from clinometer.tests.kernels import child
from clinometer.tests.kernels import sharded_ops
from clinometer.tests.kernels.sharded_ops import abstract_mesh

MAIN = "from clinometer.tests.kernels import sharded_ops; sharded_ops.main()"


def test_parts_equal_the_whole_without_a_gather():
    results = child.printed(child.run(MAIN, XLA_FLAGS=sharded_ops.FLAGS))
    assert len(results["compared"]) == 21
    for name, result in results["compared"].items():
        assert result["error"] < 2e-4, (name, result)
        assert not result["gathers"], (name, result)
        assert result["same_flops"], name
    assert results["undivided"] > 0
    # The table's gradient is a sum over the batch, and only over it.
    assert results["compared"]["relative_attention batch"]["sums"] == 1
    assert results["compared"]["relative_attention heads"]["sums"] == 0
    # With experts over an axis of the batch, rows are exchanged; else they stay.
    exchanges = {n: x["exchanges"] for n, x in results["compared"].items()}
    assert exchanges.pop("experts of the batch") >= 4  # To and fro, in both passes.
    assert not any(exchanges.values())
    assert results["inside"] < 1e-6


def conv(x, weights):
    return kernels.light_conv(x, weights, causal=True)


X, WEIGHTS = jnp.ones((3, 5, 6)), jnp.ones((3, 2))


def shard_maps(jaxpr):
    """Yields the equations of `shard_map` in a jaxpr."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "shard_map":
            yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from shard_maps(inner)


def test_without_a_mesh_the_call_is_direct():
    assert "shard_map" not in str(jax.make_jaxpr(conv)(X, WEIGHTS))
    with kernels.shard_over(abstract_mesh(1, 1), batch="data"):
        assert "shard_map" not in str(jax.make_jaxpr(conv)(X, WEIGHTS))
    for axes in ({"batch": "data"}, {}):
        with kernels.shard_over(abstract_mesh(3, 1), **axes):
            assert "shard_map" in str(jax.make_jaxpr(conv)(X, WEIGHTS))


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (3, 2)])
def test_no_axis_is_left_to_the_compiler(shape):
    """The TPU compiler refuses kernels that it would have to partition."""
    with kernels.shard_over(abstract_mesh(*shape), batch="data"):
        jaxpr = jax.make_jaxpr(conv)(X, WEIGHTS)
    (equation,) = shard_maps(jaxpr.jaxpr)
    assert equation.params["newly_manual_axes"] == {"data", "model"}


def test_what_does_not_divide_is_an_error():
    with (
        kernels.shard_over(abstract_mesh(2, 1), batch="data"),
        pytest.raises(ValueError, match="light_conv: a batch of 3 cannot be divided"),
    ):
        conv(X, WEIGHTS)
    with (
        kernels.shard_over(abstract_mesh(1, 2), heads=("model",)),
        pytest.raises(ValueError, match="light_conv: heads of 3 cannot be divided"),
    ):
        conv(X, WEIGHTS)


def expert_matmul(**options):
    x, w, counts = jnp.ones((2, 6, 4, 8)), jnp.ones((6, 8, 10)), jnp.ones((2, 6), int)
    return kernels.expert_matmul(
        x, w, counts.astype(jnp.int32), num_tokens=9, **options
    )


@pytest.mark.parametrize(
    ("sizes", "axes", "options", "message"),
    [
        ((1, 4), {"experts": "model"}, {}, "experts of 6"),
        ((4, 1), {"batch": "data", "experts": "data"}, {}, "experts of 6"),
        ((3, 2), {"batch": ("data", "model"), "experts": "model"}, {}, "a batch of 2"),
        ((1, 3), {"heads": "model"}, {"hidden": "input"}, "a hidden width of 8"),
        ((1, 4), {"heads": "model"}, {"hidden": "output"}, "a hidden width of 10"),
    ],
)
def test_experts_that_do_not_divide_are_an_error(sizes, axes, options, message):
    with (
        kernels.shard_over(abstract_mesh(*sizes), **axes),
        pytest.raises(ValueError, match=f"expert_matmul: {message} cannot be div"),
    ):
        expert_matmul(**options)


@pytest.mark.parametrize(
    ("sizes", "axes", "hidden", "x", "w"),
    [
        # Two groups divide over the data only, and the experts over the others.
        (
            (2, 3),
            {"batch": ("data", "model"), "experts": "model"},
            None,
            (1, 2, 4, 8),
            (1, 2, 8, 10),
        ),
        (
            (2, 1),
            {"batch": "data", "experts": "data"},
            None,
            (2, 3, 4, 8),
            (1, 3, 8, 10),
        ),
        # The axes of the heads divide the hidden width, if it is known.
        ((1, 2), {"heads": "model"}, None, (2, 6, 4, 8), (1, 6, 8, 10)),
        ((1, 2), {"heads": "model"}, "output", (2, 6, 4, 8), (1, 6, 8, 5)),
        ((1, 2), {"heads": "model"}, "input", (2, 6, 4, 4), (1, 6, 4, 10)),
        (
            (1, 2),
            {"heads": "model", "experts": "model"},
            "input",
            (2, 3, 4, 8),
            (1, 3, 8, 10),
        ),
    ],
)
def test_the_parts_of_the_experts_products(sizes, axes, hidden, x, w):
    with kernels.shard_over(abstract_mesh(*sizes), **axes):
        jaxpr = jax.make_jaxpr(lambda: expert_matmul(hidden=hidden))()
    (equation,) = shard_maps(jaxpr.jaxpr)
    shapes = [v.aval.shape for v in equation.params["jaxpr"].invars]
    assert shapes == [x, w, x[:2]]


@pytest.mark.parametrize(
    ("axes", "num_experts", "hidden"),
    [({"experts": "model"}, 3, 10), ({"heads": "model"}, 6, 5)],
)
def test_the_parts_of_the_feed_forward_layer(axes, num_experts, hidden):
    """The sum over the parts of the hidden width follows the product."""
    counts = jnp.ones((2, 6), jnp.int32)
    arrays = [jnp.ones(s) for s in ((2, 6, 4, 8), (6, 8, 10), (6, 10, 8))]
    with kernels.shard_over(abstract_mesh(1, 2), **axes):
        jaxpr = jax.make_jaxpr(
            lambda *a: kernels.expert_feed_forward(
                *(*a, counts),
                num_tokens=9,
                dropout_rate=0.1,
                dropout_key=jax.random.key(0),
            )
        )(*arrays)
    (equation,) = shard_maps(jaxpr.jaxpr)
    inner = equation.params["jaxpr"]
    of_expert, x = (2, num_experts), (2, num_experts, 4, 8)
    assert [v.aval.shape for v in inner.invars] == [
        *(x, (1, num_experts, 8, hidden), (1, num_experts, hidden, 8), of_expert),
        # What dropout draws: a mask, and the seeds and keys of columns of another.
        *((2, num_experts, 4, hidden), of_expert, (1, hidden)),
    ]
    sums = [e for e in inner.eqns if e.primitive.name.startswith("psum")]
    assert [e.invars[0].aval.shape for e in sums] == [x] * ("heads" in axes)
