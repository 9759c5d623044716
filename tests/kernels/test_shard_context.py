"""Tests which mesh axes shard what."""

import pytest

from clinometer import kernels
from clinometer.kernels import shard_context
from clinometer.tests.kernels.sharded_ops import abstract_mesh


def test_axes_that_divide_nothing_are_left_out():
    assert shard_context.here() is None
    with kernels.shard_over(abstract_mesh(1, 1), batch="data"):
        assert shard_context.here() is None
    with kernels.shard_over(abstract_mesh(1, 2), batch="data", heads=("model",)):
        sharding = shard_context.here()
    assert (sharding.batch, sharding.heads, sharding.experts) == ((), ("model",), ())
    assert sharding.free == {"data", "model"}
    assert sharding.parts(sharding.heads) == 2 and sharding.parts(()) == 1


@pytest.mark.parametrize(
    "axes",
    [
        {"batch": "rows"},
        {"batch": "data", "heads": "data"},
        {"batch": ("data", "data")},
        {"experts": ("model", "model")},
    ],
)
def test_axes_must_be_of_the_abstract_mesh(axes):
    with (
        pytest.raises(ValueError, match="the mesh has 'data', 'model'"),
        kernels.shard_over(abstract_mesh(1, 1), **axes),
    ):
        pass


def test_experts_take_their_axes_from_the_batch_and_the_heads():
    with kernels.shard_over(
        abstract_mesh(2, 2), batch="data", heads="model", experts=("data", "model")
    ):
        sharding = shard_context.here()
    assert sharding.names("batch") == sharding.names("batch", ["heads"]) == ("data",)
    assert sharding.names("batch", ["experts"]) == ()
    assert sharding.names("heads", ["experts"]) == ()
    assert sharding.names("experts", ["batch", "heads"]) == ("data", "model")
