"""Tests relative attention of bfloat16 operands on every instruction set."""

import pytest

from clinometer.tests.kernels import child
from clinometer.tests.kernels.relative_attention import bfloat16_errors

# bfloat16 has 8 bits: half of its last one.
ROUNDING = 2**-8


@pytest.mark.parametrize("isa", ["baseline", "avx512", "avx512_bf16", "amx"])
def test_errors_are_those_of_rounding(isa):
    result = child.printed_on(isa, bfloat16_errors.MAIN)
    # Results are rounded, and the weights where the processor multiplies bfloat16.
    roundings = 2 if isa in ("avx512_bf16", "amx") else 1
    for name, errors in result["errors"].items():
        assert max(errors) < 1.05 * roundings * ROUNDING, name


def test_any_number_of_threads_gives_the_same_bits():
    many, one = child.printed_on_many_cores_and_one(bfloat16_errors.MAIN)
    assert many["digests"] == one["digests"]
