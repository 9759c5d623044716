"""The TPU chips that the Pallas kernels support, by device kind."""

import dataclasses
import functools

from jax.experimental.pallas import tpu as pltpu

# Estimated clocks in Hz, for chips whose peak FLOPs do not determine it because each
# MXU takes two rows per cycle.
_CLOCK_HZ = {"v6e": 1.75e9, "7x": 2.2e9}


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of TPU core.

    Attributes:
        name: the name used in topologies, e.g. "v5e".
        device_kind: JAX's `device.device_kind`, e.g. "TPU v5 lite".
        topology: the smallest topology that the TPU compiler accepts.
        refusal: why our Pallas kernels do not run on it, or None.
        has_strided_roll: whether one instruction can roll each row by a different
            amount; otherwise this takes log2(n) rolls.
    """

    name: str
    device_kind: str
    topology: str
    refusal: str | None = None
    has_strided_roll: bool = True

    @functools.cached_property
    def info(self) -> pltpu.TpuInfo:
        """JAX's data on the chip, per core."""
        versions = {
            "v2": pltpu.ChipVersion.TPU_V2,
            "v3": pltpu.ChipVersion.TPU_V3,
            "v4": pltpu.ChipVersion.TPU_V4,
            "v5e": pltpu.ChipVersion.TPU_V5E,
            "v5p": pltpu.ChipVersion.TPU_V5P,
            "v6e": pltpu.ChipVersion.TPU_V6E,
            "7x": pltpu.ChipVersion.TPU_7X,
        }
        return pltpu.get_tpu_info_for_chip(versions[self.name], 1)

    @property
    def clock_hz(self) -> float:
        """The clock: derived from the peak FLOPs if possible, else an estimate."""
        flops_per_cycle = 2 * self.info.num_mxus * self.info.mxu_column_size**2
        return _CLOCK_HZ.get(self.name, self.info.bf16_ops_per_second / flops_per_cycle)

    @property
    def mxu_tiles_per_cycle(self) -> float:
        """Rows of a bfloat16 tile that the MXUs of a core take per cycle, in total."""
        flops_per_row = 2 * self.info.mxu_column_size**2
        return self.info.bf16_ops_per_second / self.clock_hz / flops_per_row

    @property
    def hbm_bytes_per_cycle(self) -> float:
        """Bytes that HBM moves per cycle of the core."""
        return self.info.mem_bw_bytes_per_second / self.clock_hz


_OLD = "its compiler refuses bfloat16 products and rolls in Pallas kernels"

CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v2", "TPU v2", "v2:2x2x1", refusal=_OLD),
        Chip("v3", "TPU v3", "v3:2x2x1", refusal=_OLD),
        Chip("v4", "TPU v4", "v4:2x2x1", has_strided_roll=False),
        Chip("v5e", "TPU v5 lite", "v5e:2x2"),
        Chip("v5p", "TPU v5", "v5p:2x2x1"),
        Chip("v6e", "TPU v6 lite", "v6e:2x2"),
        Chip("7x", "TPU7x", "tpu7x:2x2x1"),
    )
}
# Other names in common use.
_ALIASES = {"TPU v5e": "v5e", "TPU v5p": "v5p", "TPU v6e": "v6e", "TPU 7x": "7x"}
# A kernel for an unknown chip uses the forms that run on every chip.
ANY = CHIPS["v4"]


def of_device_kind(device_kind: str | None) -> Chip:
    """Returns the chip of a device kind.

    Args:
        device_kind: JAX's `device.device_kind` or an alias; None for a description that
            is valid for every chip.

    Raises:
        ValueError: if the kind is unknown.
    """
    if device_kind is None:
        return ANY
    for chip in CHIPS.values():
        if device_kind == chip.device_kind or _ALIASES.get(device_kind) == chip.name:
            return chip
    kinds = ", ".join(repr(chip.device_kind) for chip in CHIPS.values())
    raise ValueError(f"device kind {device_kind!r} is not a known TPU: {kinds}")


def refusal(device_kind: str | None) -> str | None:
    """Returns why the Pallas kernels do not run on a device kind, or None."""
    try:
        chip = of_device_kind(device_kind)
    except ValueError as error:
        return str(error)
    return chip.refusal and f"TPU {chip.name}: {chip.refusal}"
