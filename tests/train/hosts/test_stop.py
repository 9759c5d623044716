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
from clinometer.train.host import preemption
from clinometer.train.hosts import stop
auto = (jax.sharding.AxisType.Auto,) * 2
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=auto)
step = jax.jit(stop.with_flag(lambda state, batch: (state + batch["x"], state)))
request = preemption.StopRequest()
vote = stop.Vote(request, mesh, alone=False)
flags = [vote.flag]
request.set()
flags.append(vote.flag)
((name, abstract),) = stop.abstract_flag(mesh).items()
one = jax.device_put(np.int32([0, 0, 1, 0]), abstract.sharding)  # Of one process.
flags.append({name: one})
arrays = [flag[name] for flag in flags]
print(json.dumps([
    [int(step(1, {"x": 2} | flag)[1][1]) for flag in flags],
    [[s.data.tolist() for s in array.addressable_shards] for array in arrays],
    [a.sharding == abstract.sharding and a.dtype == abstract.dtype for a in arrays],
]))
"""


def test_the_largest_request_of_all_devices_is_returned():
    flags = "--xla_force_host_platform_device_count=4"
    values, parts, alike = child.printed(child.run(_SHARDED, XLA_FLAGS=flags))
    assert values == [0, 1, 1]
    assert parts == [[[0]] * 4, [[1]] * 4, [[0], [0], [1], [0]]]
    assert alike == [True] * 3


@pytest.fixture(scope="module")
def mesh():
    """A mesh of one device."""
    return jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def test_the_step_itself_is_unchanged(mesh):
    def step(state, batch):
        assert set(batch) == {"x"}
        return state * batch["x"], {"sum": jnp.sum(state)}

    vote = stop.Vote(preemption.StopRequest(), mesh, alone=True)
    x = np.float32([1, 2, 3])
    state, (metrics, stopping) = jax.jit(stop.with_flag(step))(x, {"x": x} | vote.flag)
    np.testing.assert_array_equal(state, [1, 4, 9])
    assert (int(metrics["sum"]), int(stopping)) == (6, 0)


def test_a_process_alone_stops_at_once(mesh):
    request = preemption.StopRequest()
    vote = stop.Vote(request, mesh, alone=True)
    assert not vote.agreed
    request.set()
    assert vote.agreed


def test_a_process_of_several_stops_only_when_the_step_says_so(mesh):
    """The others may not have seen the request when their last step began."""
    request = preemption.StopRequest()
    vote = stop.Vote(request, mesh, alone=False)
    request.set()
    assert not vote.agreed
    vote.fetched(np.int32(0))
    assert not vote.agreed
    vote.fetched(np.int32(1))
    assert vote.agreed


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
