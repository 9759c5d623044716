"""Tests that programs use the forms of the devices that they are lowered for."""

import types

import jax
import pytest

from clinometer import kernels
from clinometer.tests.kernels.tpu import lowered

V4, V5E, V6E = (chip.device_kind for chip in lowered.CHIPS)
# Its forms differ between v4 and v5e. For all operations and chips:
# `tests/tools/plan/test_plain_jit.py`, with the compiler's own devices.
CALL, OPERANDS = lowered.programs()["dynamic_conv", "gradient"]


def on_mesh(kind=None, platform="tpu", size=1):
    """Returns a sharding over an abstract mesh that may describe its devices."""
    device = kind and jax.sharding.AbstractDevice(
        device_kind=kind, num_cores=1, platform=platform
    )
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.AbstractMesh((size,), ("data",), auto, abstract_device=device)
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def lower(sharding, kind=None):
    return lowered.text(CALL, OPERANDS, sharding, kind)


def test_the_form_is_that_of_the_devices_described():
    assert lower(on_mesh(V5E)) == lower(on_mesh(V5E), V5E) != lower(on_mesh(V5E), V4)
    assert lower(on_mesh(V4)) == lower(on_mesh(V4), V4)
    assert lower(on_mesh(V6E)) == lower(on_mesh(V6E), V6E)


@pytest.mark.parametrize("described", [(None,), ("cpu", "cpu"), ("TPU v5 lite", "gpu")])
def test_unknown_devices_get_what_every_chip_runs(described):
    sharding = on_mesh(*described)
    assert lower(sharding) == lower(sharding, V4)


def test_an_export_from_another_platform_is_for_every_chip():
    """The local devices are CPUs; the program is for any TPU."""
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in OPERANDS]
    texts = []
    for kind in (None, V4, V5E):
        jax.clear_caches()  # As in `lowered.text`.
        with kernels.target(kind):
            made = jax.export.export(jax.jit(CALL), platforms=["tpu"])(*shapes)
        texts.append(made.mlir_module())
    assert "tpu_custom_call" in texts[0]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("kind", [None, V5E])
def test_kernels_divided_over_an_abstract_mesh_lower(kind):
    sharding = on_mesh(kind, size=2)
    with kernels.shard_over(sharding.mesh, batch="data"):
        assert lower(sharding) == lower(sharding, kind or V4)


def test_a_mesh_around_the_call_describes_its_devices():
    sharding = on_mesh(V5E)
    with jax.sharding.use_abstract_mesh(sharding.mesh):
        assert lower(None) == lower(None, V5E)


@pytest.mark.parametrize("wrap", [jax.vmap, jax.remat, jax.jit])
def test_the_kind_reaches_into_transforms(wrap):
    sharding = on_mesh(V5E)
    operands = [x[None] for x in OPERANDS] if wrap is jax.vmap else OPERANDS
    plain = lowered.text(wrap(CALL), operands, sharding)
    assert plain == lowered.text(wrap(CALL), operands, sharding, V5E)


def test_what_is_told_of_a_program_is_of_the_devices_here(monkeypatch):
    """Reported choices and FLOPs match the lowering."""

    def told():
        found = kernels.choices(CALL, *OPERANDS, platform="tpu")
        return {choice.implementation for choice in found}

    assert told() == {"tpu"}
    old = types.SimpleNamespace(platform="tpu", device_kind="TPU v3")
    monkeypatch.setattr(jax, "local_devices", lambda: [old])
    assert told() == {"reference"}
    with kernels.target(V5E):
        assert told() == {"tpu"}
