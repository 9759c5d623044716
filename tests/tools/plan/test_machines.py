"""Tests the figures of chips against those of JAX."""

import pytest

from clinometer.kernels.tpu import chips
from clinometer.tools.plan import machines


@pytest.mark.parametrize("chip", chips.CHIPS.values(), ids=lambda chip: chip.name)
def test_peaks_agree_with_jax(chip):
    found = machines.of_chip(chip)
    # JAX rounds those of v2 and v3.
    peak = pytest.approx(chip.info.bf16_ops_per_second, rel=0.14)
    assert found.peak_flops_per_second == peak
    # JAX rounds to three digits.
    memory = pytest.approx(chip.info.hbm_capacity_bytes, rel=0.08)
    assert found.hbm_bytes == memory


def test_the_peak_of_v3_follows_from_its_clock():
    found = machines.of_chip(chips.CHIPS["v3"])
    per_cycle = 2 * 2 * 128 * 128  # Two MXUs, a multiplication and an addition.
    assert found.clock_hz * per_cycle == pytest.approx(
        found.peak_flops_per_second, rel=0.01
    )
    # Four links of 656 Gbit/s.
    assert found.link_bytes_per_second == 4 * 656e9 / 8
