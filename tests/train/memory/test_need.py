"""Tests of the memory of a device and of what programs need of it."""

import types

import jax
import jax.numpy as jnp
import pytest

from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.host import free_memory
from clinometer.train.hosts import group as group_lib
from clinometer.train.memory import need


def _compile(**options):
    """A step of a state of 256 x 256 with a batch of 512 x 256 float32 values."""

    def step(state, batch):
        # The temporaries are at least the 512 x 256 values of the hyperbolic tangent.
        return state + jnp.tanh(batch @ state).T @ batch, (batch @ state).sum()

    state = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    batch = jax.ShapeDtypeStruct((512, 256), jnp.float32)
    return jax.jit(step, **options).lower(state, batch).compile()


def test_what_a_donated_argument_shares_with_an_output_counts_once():
    state, batch = 4 * 256 * 256, 4 * 512 * 256
    found = need.of_train_step(_compile(donate_argnums=0))
    # The scalar output and the addresses of the outputs are a few bytes.
    assert found.held == pytest.approx(state + batch, abs=100)
    assert found.temporary >= batch
    assert found.total == found.held + found.temporary
    apart = need.of_train_step(_compile())
    assert apart.held == pytest.approx(2 * state + batch, abs=100)


def test_evaluation_holds_the_optimizer_slots_as_well():
    program = _compile()
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    slots = {"m": {"w": jax.ShapeDtypeStruct((100, 3), jnp.float32, sharding=sharding)}}
    state = state_lib.TrainState(None, None, slots)
    alone, beside = need.of_train_step(program), need.of_eval_step(program, state)
    assert beside.held == alone.held + 1200
    assert beside.temporary == alone.temporary


def test_a_compiler_that_does_not_say():
    program = types.SimpleNamespace(memory_analysis=lambda: None)
    with pytest.raises(errors.RunError, match="does not say .*microbatch=fixed"):
        need.of_train_step(program)


def _device(platform, **stats):
    return types.SimpleNamespace(platform=platform, memory_stats=lambda: stats or None)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([_device("gpu", bytes_limit=70), _device("gpu", bytes_limit=60)], 60),
        ([_device("gpu", bytes_limit=70), _device("gpu", bytes_in_use=1)], None),
        ([_device("tpu")], None),
        ([_device("cpu")], 1000),
        ([_device("cpu")] * 3, 333),
    ],
)
def test_the_memory_of_a_device(monkeypatch, devices, expected):
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    monkeypatch.setattr(free_memory, "available", lambda: 1000)
    config, alone = pretrain.get_config(), group_lib.Group()
    assert need.of_any_device(config, alone) == expected
    config.device_memory_bytes = 50
    assert need.of_any_device(config, alone) == 50


class _Group(group_lib.Group):
    """A process beside one with devices of 900 bytes and one that tells a value."""

    def __init__(self, value):
        super().__init__(size=3)
        self._value = value

    def gather(self, value):
        return [value, 900, self._value]


def test_all_processes_take_the_smallest_device(monkeypatch):
    config = pretrain.get_config()
    monkeypatch.setattr(free_memory, "available", lambda: 1000)
    assert need.of_any_device(config, _Group(950)) == 900
    assert need.of_any_device(config, _Group(800)) == 800
    assert need.of_any_device(config, _Group(None)) is None
    monkeypatch.setattr(free_memory, "available", lambda: None)
    assert need.of_any_device(config, _Group(950)) is None


def test_which_errors_say_that_memory_does_not_suffice():
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jnp.zeros(1 << 45).block_until_ready()  # 2^47 bytes
    assert need.is_exhausted(caught.value)
    assert not need.is_exhausted(jax.errors.JaxRuntimeError("INTERNAL: a bug"))
    assert not need.is_exhausted(ValueError("RESOURCE_EXHAUSTED"))
