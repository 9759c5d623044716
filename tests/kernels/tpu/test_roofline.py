"""Tests rooflines against cycles computed by hand."""

import pytest

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline

V5E = chips.CHIPS["v5e"]


def test_attention_at_half_filled_units_is_65k_cycles():
    # B8 S512 H8 D64 on v5e; each product's depth or width of 64
    # takes a whole unit of 128.
    logits = 64 * roofline.mxu_cycles(V5E, 512, 64, 512)
    values = 64 * roofline.mxu_cycles(V5E, 512, 512, 64)
    assert logits + values == pytest.approx(65_536, rel=0.005)


def test_a_convolution_moves_its_operands_in_15k_cycles():
    size = 2 * 8 * 512 * 512 * 2  # bfloat16, in and out
    assert roofline.hbm_cycles(V5E, size) == pytest.approx(15.4e3, rel=0.01)


def test_a_vector_unit_takes_four_registers_a_cycle():
    assert roofline.vpu_cycles(8 * 128 * 4, 3) == 3
    assert roofline.eup_cycles(8 * 128 * 4) == 4


def test_the_largest_binds():
    found = roofline.Roofline(mxu=3.0, vpu=5.0, hbm=4.0)
    assert (found.cycles, found.binds) == (5.0, "vpu")


def test_wide_units_are_filled_by_256_columns():
    v6e = chips.CHIPS["v6e"]
    narrow = roofline.mxu_cycles(v6e, 512, 128, 128)
    assert roofline.mxu_cycles(v6e, 512, 256, 256) == narrow
