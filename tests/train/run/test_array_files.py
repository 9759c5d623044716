"""Tests of the arrays of a checkpoint, read and written by Orbax itself as well."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from clinometer.train import state as state_lib
from clinometer.train.run import array_files
from clinometer.train.run import canonical
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import host_copy

_STACK = "encoder/layers/layer/ffn"


@pytest.fixture(scope="module")
def state():
    w = np.random.default_rng(0).normal(size=(2, 12, 40)).astype(np.float32)
    params = {"token_embedding": {"table": jnp.ones((6, 2), jnp.bfloat16)}}
    params[_STACK] = {"w": jnp.asarray(w)}
    return state_lib.TrainState(jnp.int32(4), params, {})


def _tree(state):
    tree = canonical.to_canonical(state)
    del tree["optimizer"]
    return tree


def _write(folder, state):
    folder.mkdir()
    array_files.write(folder, _tree(host_copy.take(state)))
    array_files.finish(folder)


def _abstract(tree):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
    )


def test_orbax_reads_what_is_written(state, tmp_path, monkeypatch):
    monkeypatch.setattr(host_copy, "_CHUNK_BYTES", 500)  # Chunks of 3 of 12 rows.
    _write(tmp_path / "state", state)
    expected = jax.tree.map(np.asarray, _tree(state))
    target = jax.tree.map(np.zeros_like, expected)
    with ocp.StandardCheckpointer() as reader:
        found = reader.restore(tmp_path / "state", target)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    # Without compression, of which tensorstore would keep the results in memory.
    size = sum(file.stat().st_size for file in (tmp_path / "state").rglob("d/*"))
    assert size >= expected["params"]["encoder/layer_0/ffn"]["w"].nbytes * 2


def test_what_orbax_writes_is_read(state, tmp_path):
    tree = _tree(state)
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "state", jax.tree.map(np.asarray, tree))
    target = _abstract(tree)
    found = array_files.read(tmp_path / "state", target)
    jax.tree.map(np.testing.assert_array_equal, found, tree)


def test_some_of_the_arrays(state, tmp_path):
    _write(tmp_path / "state", state)
    target = _abstract(_tree(state))
    del target["step"], target["params"]["token_embedding"]
    with pytest.raises(checkpoint_meta.BrokenError):
        array_files.read(tmp_path / "state", target)
    found = array_files.read(tmp_path / "state", target, partial=True)
    assert jax.tree.structure(found) == jax.tree.structure(target)
    w = state.params[_STACK]["w"][1]
    np.testing.assert_array_equal(found["params"]["encoder/layer_1/ffn"]["w"], w)


@pytest.mark.parametrize("wrong", ["name", "shape"])
def test_arrays_that_are_not_there(state, tmp_path, wrong):
    _write(tmp_path / "state", state)
    target = _abstract(_tree(state))
    step = target.pop("step")
    if wrong == "name":
        target["steps"] = step
    else:
        target["step"] = jax.ShapeDtypeStruct((2,), "int32", sharding=step.sharding)
    with pytest.raises(checkpoint_meta.BrokenError):
        array_files.read(tmp_path / "state", target)
    said = {"name": r"no array \['steps'\]", "shape": "shape"}[wrong]
    with pytest.raises(checkpoint_meta.BrokenError, match=said):
        array_files.read(tmp_path / "state", target, partial=True)
