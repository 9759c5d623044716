"""Tests of the request to stop as an input of the step, and of the stop file."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.data import paths
from clinometer.tests.kernels import child
from clinometer.train.host import preemption
from clinometer.train.hosts import stop

_SHARDED = """
import json
import jax
import numpy as np
from clinometer.train.hosts import stop
auto = (jax.sharding.AxisType.Auto,) * 2
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=auto)
abstract = stop.abstract_flag(mesh)
step = jax.jit(stop.with_flag(lambda state, batch: (state + batch, state)))
given = [stop.flag(abstract, requested) for requested in (False, True)]
one = jax.device_put(np.int32([0, 0, 1, 0]), abstract.sharding)  # Of one process.
print(json.dumps([
    [int(step(1, 2, flag)[1][1]) for flag in (*given, one)],
    [len({s.device for s in flag.addressable_shards}) for flag in given],
    [s.data.tolist() for s in given[1].addressable_shards],
]))
"""


def test_the_largest_request_of_all_devices_is_returned():
    flags = "--xla_force_host_platform_device_count=4"
    values, devices, parts = child.printed(child.run(_SHARDED, XLA_FLAGS=flags))
    assert values == [0, 1, 1]
    assert devices == [4, 4]
    assert parts == [[1]] * 4


def test_the_step_itself_is_unchanged():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    abstract = stop.abstract_flag(mesh)

    def step(state, batch):
        return state * batch, {"sum": jnp.sum(state)}

    flag = stop.flag(abstract, False)
    assert (flag.shape, flag.dtype) == (abstract.shape, abstract.dtype)
    x = np.float32([1, 2, 3])
    state, (metrics, stopping) = jax.jit(stop.with_flag(step))(x, x, flag)
    np.testing.assert_array_equal(state, [1, 4, 9])
    assert (int(metrics["sum"]), int(stopping)) == (6, 0)


@pytest.mark.parametrize("place", ["disk", "objects"])
def test_a_stop_file_requests_a_stop(place, tmp_path, request):
    directory = tmp_path
    if place == "objects":
        request.getfixturevalue("objects")
        directory = paths.parse("gs://bucket/run")
    asked = preemption.StopRequest()
    with stop.StopFile(directory, asked, seconds=0.02) as file:
        time.sleep(0.1)
        assert not asked.is_set
        paths.write_bytes(directory / "stop", b"")
        for _ in range(1000):
            if asked.is_set:
                break
            time.sleep(0.02)
        assert asked.is_set
        assert paths.exists(directory / "stop")  # Until the run has stopped.
        file.remove()
        assert not paths.exists(directory / "stop")
        file.remove()


def test_a_stop_file_is_seen_at_the_start(tmp_path):
    (tmp_path / "stop").touch()
    asked = preemption.StopRequest()
    with stop.StopFile(tmp_path, asked):
        pass
    assert asked.is_set
