"""Tests of the canonical form; `test_state` converts real states."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np

from clinometer.train import state as state_lib
from clinometer.train.run import canonical

_STACK = "encoder/layers/layer/ffn"


def _state():
    params = {"token_embedding": {"table": jnp.ones((6, 2))}}
    params[_STACK] = {"w": jnp.arange(24.0).reshape(3, 4, 2)}
    slots = {"token_embedding": {"table": (jnp.int32(5),)}}
    slots[_STACK] = {"w": (jnp.arange(3),)}
    return state_lib.TrainState(jnp.int32(4), params, slots)


def test_a_layer_is_sharded_like_its_stack():
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((1, 1), ("fsdp", "model"), axis_types=axis_types)
    specs = {(3, 4, 2): P(None, "fsdp", "model"), (6, 2): P("model"), (3,): P(None)}

    def struct(leaf):
        spec = specs.get(leaf.shape, P())
        sharding = jax.sharding.NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    found = canonical.abstract(jax.tree.map(struct, _state()))
    expected = {
        "step": ((), jnp.int32, P()),
        "params": {"token_embedding": {"table": ((6, 2), jnp.float32, P("model"))}},
        "optimizer": {"[0]": {"token_embedding": {"table": ((), jnp.int32, P())}}},
    }
    for layer in range(3):
        name = f"encoder/layer_{layer}/ffn"
        spec = P("fsdp", "model")
        expected["params"][name] = {"w": ((4, 2), jnp.float32, spec)}
        expected["optimizer"]["[0]"][name] = {"w": ((), jnp.int32, P())}
    described = jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding.spec), found)
    assert described == expected
    alone = canonical.abstract(jax.eval_shape(_state))
    assert {x.sharding.device_set.pop() for x in jax.tree.leaves(alone)} == {
        jax.devices()[0]
    }


def test_the_parts_are_freed_when_a_state_is_made_of_them():
    state = _state()
    parts = canonical.to_canonical(_state())
    made = canonical.assemble(parts, jax.eval_shape(_state))
    assert all(part.is_deleted() for part in jax.tree.leaves(parts))
    jax.tree.map(np.testing.assert_array_equal, made, state)


def test_functions_are_told_which_leaves_are_stacks():
    def describe(leaf, other, stacked):
        return f"{leaf.ndim} {other} {stacked}"

    state = _state()
    others = jax.tree.map(lambda leaf: leaf.size, state)
    found = canonical.map_leaves(describe, state, others)
    assert found == state_lib.TrainState(
        "0 1 False",
        {"token_embedding": {"table": "2 12 False"}, _STACK: {"w": "3 24 True"}},
        {"token_embedding": {"table": ("0 1 False",)}, _STACK: {"w": ("1 3 True",)}},
    )
