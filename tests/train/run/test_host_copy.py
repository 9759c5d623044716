"""Tests of copies of a state in host memory, on one device.

`test_checkpoints_sharded` has states on several.
"""

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.train import state as state_lib
from clinometer.train.run import canonical
from clinometer.train.run import host_copy


def _state(*stack_shape):
    stack = jnp.arange(np.prod(stack_shape), dtype=jnp.float32).reshape(stack_shape)
    params = {"token_embedding": {"table": jnp.ones((6, 2))}}
    params["encoder/layers/layer/ffn"] = {"w": stack}
    return state_lib.TrainState(jnp.int32(4), params, {})


def test_layers_are_views_of_one_copy():
    state = _state(3, 4, 2)
    want = np.array(state.params["encoder/layers/layer/ffn"]["w"])
    copies = host_copy.take(state)
    whole = copies.params["encoder/layers/layer/ffn"]["w"]
    assert sum(copy.nbytes for copy in jax.tree.leaves(copies)) == 4 + 48 + 96
    # The next step may overwrite the buffers.
    jax.jit(lambda x: jax.tree.map(lambda y: y + 1, x), donate_argnums=0)(state)
    tree = canonical.to_canonical(copies)
    assert tree["step"].shape == () and tree["step"].pieces[0][1] == 4
    for layer in range(3):
        copy = tree["params"][f"encoder/layer_{layer}/ffn"]["w"]
        assert (copy.shape, copy.chunk, copy.dtype) == ((4, 2), (4, 2), np.float32)
        ((index, values),) = copy.pieces
        np.testing.assert_array_equal(values, want[layer])
        np.testing.assert_array_equal(want[layer][index], values)
        assert np.shares_memory(values, whole.pieces[0][1])


def test_large_arrays_are_cut_into_equal_chunks(monkeypatch):
    def chunks(limit):
        monkeypatch.setattr(host_copy, "_CHUNK_BYTES", limit)
        params = host_copy.take(_state(2, 6, 5)).params
        stack = params["encoder/layers/layer/ffn"]["w"]
        return params["token_embedding"]["table"].chunk, stack.chunk, stack[0].chunk

    # Rows of 8 and of 20 bytes, of which 6 are cut into parts of 6, 3, 2 or 1.
    assert chunks(1000) == ((6, 2), (2, 6, 5), (6, 5))
    assert chunks(119) == ((6, 2), (2, 3, 5), (3, 5))
    assert chunks(40) == ((3, 2), (2, 2, 5), (2, 5))
    assert chunks(1) == ((1, 2), (2, 1, 5), (1, 5))
