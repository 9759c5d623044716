"""Tests the table of chips against published peaks, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.kernels import context
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap


def test_clocks_and_widths_of_the_documented_chips():
    # Of one core, in GHz, tiles a cycle, and bytes a cycle.
    documented = {
        "v4": (1.05, 4, 615e9 / 1.05e9),
        "v5e": (1.50, 4, 820e9 / 1.5e9),
        "v5p": (1.75, 4, 1230e9 / 1.75e9),
        "v6e": (1.75, 4, 1640e9 / 1.75e9),
        "7x": (2.2, 4, 3700e9 / 2.2e9),
    }
    for name, (clock, tiles, hbm_bytes) in documented.items():
        chip = chips.CHIPS[name]
        assert chip.clock_hz / 1e9 == pytest.approx(clock, rel=0.005), name
        assert chip.mxu_tiles_per_cycle == pytest.approx(tiles, rel=0.005), name
        assert chip.hbm_bytes_per_cycle == pytest.approx(hbm_bytes, rel=0.005), name


def test_device_kinds_by_every_name():
    assert chips.of_device_kind("TPU v5 lite") is chips.CHIPS["v5e"]
    assert chips.of_device_kind("TPU v5e") is chips.CHIPS["v5e"]
    assert chips.of_device_kind(None) is chips.CHIPS["v4"]
    with pytest.raises(ValueError, match="'TPU v99' is not a known TPU: 'TPU v2'"):
        chips.of_device_kind("TPU v99")
    assert "TPU v99" in chips.refusal("TPU v99")
    assert chips.refusal("TPU v3").startswith("TPU v3: its compiler refuses")
    assert chips.refusal("TPU v4") is None


def test_block_sizes_are_found_by_their_kind():
    assert wrap.blocks(int) is None
    with context.block_sizes((2.5, 7)):
        assert wrap.blocks(int) == 7
        assert wrap.blocks(str) is None
    with context.block_sizes(7):
        assert wrap.blocks(int) == 7


@pytest.mark.parametrize(
    "num_heads, width, tiles", [(3, 64, 2), (2, 24, 1), (1, 128, 1), (2, 160, 4)]
)
def test_heads_lie_side_by_side_in_lanes(num_heads, width, tiles):
    x = np.arange(2 * 5 * num_heads * width, dtype=np.float32)
    x = jnp.asarray(x.reshape(2, 5, num_heads, width))
    rows = lanes.to_lanes(x, 8)
    assert rows.shape == (2, 8, 128 * tiles)
    back = lanes.from_lanes(rows, 5, num_heads, width)
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(rows[:, 5:], 0)
    padded = lanes.padded_width(width)
    if padded < 128:
        heads = range(lanes.heads_per_tile(padded))
        masks = [lanes.head_mask(h, padded) for h in heads]
        np.testing.assert_array_equal(jnp.concatenate(masks).sum(axis=0), 1)
        one = jax.nn.relu(jnp.where(masks[1], rows[..., :128], 0))[0, 0]
        np.testing.assert_array_equal(one[padded : padded + width], x[0, 0, 1])
