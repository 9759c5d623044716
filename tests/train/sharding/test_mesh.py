"""Tests of the mesh's sizes."""

import pytest

from clinometer.train import errors
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh


def _sizes(name="transformer-small", num_devices=8, greatest=0, **changes):
    config = {**pretrain.get_config().mesh, **changes}
    return mesh.sizes(config, name, num_devices, {"model": greatest})


@pytest.mark.parametrize(
    ("name", "num_devices", "changes", "expected"),
    [
        ("transformer-small", 1, {}, (1, 1, 1, 1)),
        ("transformer-small", 8, {}, (8, 1, 1, 1)),
        ("transformer-small", 8, {"fsdp": 2, "model": 2}, (2, 2, 1, 2)),
        ("switch-base", 8, {"expert": 8}, (1, 1, 8, 1)),
        # Tay et al. 2022, Section 3.2: 2 for large, 8 for XL and 32 for XXL.
        ("transformer-NL36-LG", 16, {}, (8, 1, 1, 2)),
        ("glu-xl", 16, {}, (2, 1, 1, 8)),
        ("transformer-xxl", 64, {}, (2, 1, 1, 32)),
        ("transformer-xxl", 8, {}, (1, 1, 1, 8)),
        ("transformer-xl", 1, {}, (1, 1, 1, 1)),
        ("transformer-xl", 8, {"model": 1}, (8, 1, 1, 1)),
        ("toy-linear", 8, {}, (8, 1, 1, 1)),
    ],
)
def test_sizes(name, num_devices, changes, expected):
    found = _sizes(name, num_devices, **changes)
    assert (found.data, found.fsdp, found.expert, found.model) == expected
    assert found.devices == num_devices
    assert found.batch_parts == num_devices // found.model


def test_the_published_model_parallelism_must_divide_the_model():
    assert _sizes("glu-large", 16, 2731).model == 1
    assert _sizes("glu-xl", 16, 4).model == 4
    assert _sizes("glu-xl", 16, 4, model=8).model == 8  # Refused by the placement.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 4}, "data 4 x fsdp 1 x expert 1 x model 1 are 4 devices.*are 8"),
        ({"fsdp": 3}, "fsdp 3 .* are 6 devices, but there are 8"),
        ({"model": 16}, "model 16 are 16 devices, but there are 8"),
    ],
)
def test_a_mesh_that_does_not_multiply_to_the_devices_is_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=f"config.mesh: .*{message}"):
        _sizes(**changes)


def test_the_axes_of_the_mesh():
    made = mesh.make(mesh.Sizes())
    assert dict(made.shape) == {"data": 1, "fsdp": 1, "expert": 1, "model": 1}
