"""Tests of the check for free space."""

import jax
import jax.numpy as jnp
import pytest

from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.run import disk_space


def test_space_is_checked_beforehand(tmp_path):
    disk_space.check(tmp_path / "not" / "yet", 1)
    message = r"need 1,000,000,000,000 MB more.*keep fewer \(--config.checkpoint.keep_x"
    with pytest.raises(errors.RunError, match=message):
        disk_space.check(tmp_path / "not" / "yet", 10**18, "checkpoint.keep_x")


def test_object_stores_are_not_checked():
    disk_space.check("gs://bucket/run/checkpoints", 10**18)


def test_the_size_of_a_state():
    leaves = {"token_embedding": {"table": jnp.zeros((4, 3))}}
    slots = {"token_embedding": {"table": (jnp.int32(1), jnp.ones(3, jnp.bfloat16))}}
    abstract = jax.eval_shape(lambda: state_lib.TrainState(jnp.int32(0), leaves, slots))
    assert disk_space.num_bytes(abstract) == 4 + 4 * 12 + 4 + 2 * 3
