"""Tests `constrain`: what it divides, and what it leaves alone."""

import jax
import jax.numpy as jnp
import pytest

from clinometer import kernels
from clinometer.tests.kernels import child
from clinometer.tests.kernels import constraint_child
from clinometer.tests.kernels.sharded_ops import abstract_mesh

MAIN = "from clinometer.tests.kernels import constraint_child; constraint_child.main()"
X = jnp.ones((4, 6, 8))


def test_activations_are_divided_under_every_transformation():
    found = child.printed(child.run(MAIN, XLA_FLAGS=constraint_child.FLAGS))
    assert len(found) == 6
    for name, form in found.items():
        # Sums over 64 hidden channels in another order, three layers deep.
        assert form["error"] < 5e-6, name
        # Rows and channels are halved; inside of the caller's own `shard_map` over the
        # rows, only the channels are left to halve. The rest is elementwise.
        parts = 2 if name.startswith("local") else 4
        assert form["flops"] == pytest.approx(form["undivided"] / parts, rel=0.05)


def specs(axes, x=X, **over):
    """Returns the partition specs of the constraints that are traced."""
    with kernels.shard_over(abstract_mesh(2, 2), **over):
        jaxpr = jax.make_jaxpr(lambda x: kernels.constrain(x, axes))(x)
    return [equation.params["sharding"].spec for equation in jaxpr.eqns]


def test_dimensions_are_divided_over_the_axes_of_the_context():
    over = {"batch": "data", "heads": "model"}
    P, free = jax.sharding.PartitionSpec, jax.sharding.PartitionSpec.UNCONSTRAINED
    assert specs(("batch", None, "heads"), **over) == [P(("data",), None, ("model",))]
    assert specs((None, "batch", None), **over) == [P(None, ("data",), None)]
    assert specs(("batch", None, None), batch=("data", "model")) == [
        P(("data", "model"), None, None)
    ]
    # Experts take the axes that they share with the batch.
    over = {"batch": ("data", "model"), "experts": "model"}
    assert specs(("batch", "experts", None), **over) == [P(("data",), ("model",), None)]
    # What does not divide is left to the compiler.
    over = {"batch": "data", "heads": "model"}
    assert specs(("batch", "heads", None), X[:, :1], **over) == [
        P(("data",), free, None)
    ]


def test_nothing_to_divide_is_no_constraint():
    assert not specs(("batch", None, None))
    assert not specs((None, None, None), batch="data")
    assert not specs(("batch", None, None), X[:1], batch="data")
    assert kernels.constrain(X, ("batch", None, None)) is X
    with kernels.shard_over(abstract_mesh(2, 2), batch="data", heads="model"):
        inside = jax.shard_map(
            lambda x: kernels.constrain(x, ("batch", None, "heads")),
            mesh=abstract_mesh(2, 2),
            in_specs=jax.sharding.PartitionSpec("data", None, "model"),
            out_specs=jax.sharding.PartitionSpec("data", None, "model"),
        )
        jaxpr = jax.make_jaxpr(inside)(X)
    assert "sharding_constraint" not in str(jaxpr)


@pytest.mark.parametrize(
    "axes", [("batch", None), ("batch", "rows", None), ("batch", None, None, None)]
)
def test_axes_must_fit_the_array(axes):
    with pytest.raises(ValueError, match=r"constrain: axes: .*\(4, 6, 8\)"):
        kernels.constrain(X, axes)
