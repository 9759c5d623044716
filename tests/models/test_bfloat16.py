"""How XLA for CPUs multiplies in bfloat16, in the programs that it compiles."""

import pytest

from clinometer.kernels.cpu import bfloat16
from clinometer.tests.kernels import child
from clinometer.tests.models import bfloat16_child
from clinometer.tests.models import every_architecture as every

needs_products = pytest.mark.skipif(
    not bfloat16.is_multiplied(), reason="the processor does not multiply bfloat16"
)


def printed(call, flags=""):
    """Returns what a function of the child prints, by default with XLA's settings."""
    code = f"from clinometer.tests.models import bfloat16_child as c; c.{call}"
    return child.printed(child.run(code, XLA_FLAGS=flags))


@needs_products
@pytest.mark.parametrize(
    ("rows", "transpose_kernel"), [(4, False), (48, False), (48, True)]
)
def test_products_of_layers_are_fast_ones(rows, transpose_kernel):
    """The output, and the gradients of its two operands."""
    found = printed(f"dense_layers({rows}, {transpose_kernel})")
    assert found == {"finite": True, "products": [["bf16", "bf16", "f32", "1"]] * 3}


@needs_products
@pytest.mark.slow
@pytest.mark.parametrize("label", [example.label for example in every.EXAMPLES])
def test_no_product_of_an_architecture_has_a_result_in_bfloat16(label):
    found = printed(f"architecture({label!r})")
    assert set(found) == set(bfloat16_child.SETTINGS)
    for setting, program in found.items():
        assert program["finite"], setting
        assert program["products"]
        for *operands, result, _ in program["products"]:
            assert result == "f32", (setting, operands)
        fast = [x for x in program["products"] if x == ["bf16", "bf16", "f32", "1"]]
        # At least an output, and the gradients of its operands.
        assert len(fast) >= 3, setting


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_devices_gather_nothing(transpose_kernel):
    """They add up gradients: those of the kernel over the batch, and those of x."""
    flags = "--xla_force_host_platform_device_count=4"
    found = printed(f"collectives({transpose_kernel})", flags)
    assert found == ["all-reduce"] * 2
