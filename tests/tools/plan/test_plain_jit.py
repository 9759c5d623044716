"""Tests that plain `jax.jit` lowers to the kernel variant of the target chip."""

import importlib.util

import pytest

from clinometer.tests.kernels import child
from clinometer.tests.kernels.tpu import lowered

MAIN = "from clinometer.tests.kernels.tpu import lowered; lowered.main()"


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
def test_every_operation_and_gradient_takes_the_form_of_its_chip():
    found = child.printed(child.run(MAIN))
    names = [" ".join(name) for name in lowered.programs()]
    assert len(found) == len(names) * len(lowered.CHIPS)
    for name, (plain, targeted) in found.items():
        assert plain == targeted, name
    # The variants of two chips differ.
    for name in ("relative_attention forward", "dynamic_conv gradient"):
        assert found[f"{name} v4"] != found[f"{name} v5e"]
