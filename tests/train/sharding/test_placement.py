"""Tests of where parameters, optimizer slots and batches are, on abstract devices."""

import dataclasses
import math

import jax
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from clinometer import models
from clinometer.train import errors
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement
from clinometer.train.sharding import rules
from clinometer.train.sharding import summary


def _place(name, sizes, optimizer="adafactor", **overrides):
    """Places a model on a mesh of devices that do not exist."""
    model = models.build(name, **overrides)
    config = pretrain.get_config().optimizer
    config.name = optimizer
    abstract = jax.eval_shape(
        lambda: state_lib.initialise(model, optimizer_lib.make(config), seed=0)
    )
    return placement.make(
        model,
        abstract,
        rules.DEFAULT,
        lambda greatest: mesh_lib.Sizes(*sizes),
        batch_size=8,
        make_mesh=lambda sizes: jax.sharding.AbstractMesh(
            dataclasses.astuple(sizes), mesh_lib.AXES
        ),
    )


def test_slots_follow_their_parameter():
    placed = _place("transformer-NL2-BA", (2, 2, 1, 2), scan_layers=True)
    module = "encoder/layers/layer/feed_forward"
    leaf = placed.state.params[module]["wi"]
    assert leaf.shape == (2, 768, 3072)
    assert leaf.sharding.spec == P(None, "fsdp", "model")
    (slots,) = (
        part for part in placed.state.optimizer[module]["wi"] if hasattr(part, "v_row")
    )
    assert slots.count.sharding.spec == P()
    # Shazeer and Stern 2018: the mean over columns has a value for each row.
    assert (slots.v_row.shape, slots.v_row.sharding.spec) == ((2, 768), P(None, "fsdp"))
    assert slots.v_col.shape == (2, 3072)
    assert slots.v_col.sharding.spec == P(None, "model")
    assert (slots.v.shape, slots.v.sharding.spec) == ((2, 1), P())


@pytest.mark.parametrize("shape", [(256, 256), (256, 512), (512, 256), (4, 256, 256)])
def test_the_axis_that_a_factored_slot_lacks(shape):
    """Which of two equal axes optax keeps shows in the values of the slot."""
    config = pretrain.get_config().optimizer
    optimizer = optimizer_lib.make(config)
    leaf = np.ones(shape, np.float32)
    names = tuple("abc"[: len(shape)])
    for axis in range(len(shape)):
        # Varies along one axis only, as must the slots that keep this axis.
        gradient = leaf * np.arange(1.0, shape[axis] + 1, dtype=np.float32).reshape(
            [-1 if i == axis else 1 for i in range(len(shape))]
        )
        _, state = optimizer.update(
            {"m": {"w": gradient}},
            optimizer.init({"m": {"w": leaf}}),
            {"m": {"w": leaf}},
            1.0,
        )
        for path, slot in jax.tree_util.tree_flatten_with_path(state["m"]["w"])[0]:
            if slot.ndim != len(shape) - 1 or slot.size == 1:
                continue
            spec = placement.slot_spec(path, slot.shape, shape, P(*names))
            varies = [
                i for i in range(slot.ndim) if np.ptp(np.asarray(slot), axis=i).max()
            ]
            assert [spec[i] for i in varies] == [names[axis]] * len(varies)
            assert bool(varies) == (names[axis] in spec)


@pytest.mark.parametrize(
    ("name", "sizes", "optimizer"),
    [
        ("glu-base", (2, 8, 1, 4), "adamw"),
        ("switch-small", (1, 2, 4, 2), "adafactor"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("transformer-base", (1, 4, 1, 2), "adafactor"),
                ("transformer-base", (1, 4, 1, 2), "adamw"),
                ("glu-base", (2, 8, 1, 4), "adafactor"),
                ("switch-small", (1, 2, 4, 2), "adamw"),
            )
        ),
    ],
)
def test_bytes_a_device_fall_by_the_parts(name, sizes, optimizer):
    whole = _place(name, (1, 1, 1, 1), optimizer).state
    parts = _place(name, sizes, optimizer).state
    _, fsdp, expert, model = sizes

    def expected(tree):
        total = 0.0
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            size = leaf.size * leaf.dtype.itemsize / (fsdp * model)
            is_expert = leaf.ndim == 3 and "sparse" in jax.tree_util.keystr(path)
            total += size / expert if is_expert else size
        return total

    # Norms, relative biases and placeholders are not divided by both axes, and
    # factored slots, which are small, by one at most.
    found = summary.bytes_per_device(parts)
    assert found == pytest.approx(expected(whole), rel=0.05)
    found = summary.bytes_per_device(parts.params)
    assert found == pytest.approx(expected(whole.params), rel=0.05)
    if optimizer == "adamw":
        found = summary.bytes_per_device(parts.optimizer)
        assert found == pytest.approx(expected(whole.optimizer), rel=0.05)


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        (
            "transformer-pico",
            (1, 1, 1, 4),
            r"mesh.model: 4 does not divide the 2 of num_h",
        ),
        ("transformer-NH4-PI", (1, 1, 1, 3), r"mesh.model: 3 .*accepted .*: 1, 2, 4$"),
        (
            "transformer-pico",
            (1, 3, 1, 1),
            r"mesh.fsdp: 3 does not divide the 32 of axis e",
        ),
        (
            "switch-pico",
            (1, 1, 3, 1),
            r"mesh.expert: 3 .* 8 of axis expert .*1, 2, 4, 8",
        ),
        (
            "transformer-FF129-PI",
            (1, 1, 1, 2),
            r"mesh.model: 2 does not divide the 129",
        ),
    ],
)
def test_parts_that_do_not_divide_are_refused(name, sizes, message):
    with pytest.raises(errors.ConfigError, match=message):
        _place(name, sizes)


def test_every_byte_is_somewhere():
    """The parts of a leaf, over the axes that divide it, are the leaf."""
    placed = _place("switch-pico", (1, 2, 2, 2))
    for leaf in jax.tree.leaves(placed.state):
        axes = [axis for axis in leaf.sharding.spec if axis is not None]
        shard = math.prod(leaf.sharding.shard_shape(leaf.shape))
        assert shard * math.prod(placed.mesh.shape[axis] for axis in axes) == leaf.size
