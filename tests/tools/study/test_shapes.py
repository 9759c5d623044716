"""Compares the shapes of models with their names."""

import pytest

from clinometer import models
from clinometer.tools.study import shapes


@pytest.mark.parametrize(
    ("model", "layers", "width"),
    [
        ("transformer-pico", (2, 2), 32),
        ("transformer-EL3-DL1-DM16-NH1-FF64-PI", (3, 1), 16),
        ("switch-milli", (2, 2), 128),
    ],
)
def test_layers_and_width(model, layers, width):
    shape = shapes.of(model)
    assert (shape.layers, shape.width) == (layers, width)
    assert shape.architecture == model.partition("-")[0]


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_every_architecture_has_a_shape(architecture):
    assert shapes.of(f"{architecture}-nano").width == 48
