"""Tests relative attention of bfloat16 operands on every instruction set."""

import os

import pytest

from clinometer.tests.kernels import child

MAIN = (
    "from clinometer.tests.kernels.relative_attention import bfloat16_errors\n"
    "bfloat16_errors.main()"
)
# bfloat16 has 8 bits: half of its last one.
ROUNDING = 2**-8


@pytest.mark.parametrize("isa", ["baseline", "avx512", "avx512_bf16", "amx"])
def test_errors_are_those_of_rounding(isa):
    finished = child.run(MAIN, CLINOMETER_CPU_ISA=isa)
    if "processor runs no more than" in finished.stderr:
        pytest.skip(f"this machine's processor has no {isa}")
    result = child.printed(finished)
    assert result["isa"] == isa
    # Results are rounded, and the weights where the processor multiplies bfloat16.
    roundings = 2 if isa in ("avx512_bf16", "amx") else 1
    for name, errors in result["errors"].items():
        assert max(errors) < 1.05 * roundings * ROUNDING, name


def test_any_number_of_threads_gives_the_same_bits():
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core only: there is nothing to compare with")
    one_core = f"import os; os.sched_setaffinity(0, [{min(cores)}])\n"
    many = child.printed(child.run(MAIN, XLA_FLAGS=""))
    one = child.printed(child.run(one_core + MAIN, XLA_FLAGS=""))
    assert many["digests"] == one["digests"]
