"""Relative attention as Pallas TPU kernels: when, and at what cost."""

from typing import Any

from clinometer.kernels.relative_attention import tpu_backward
from clinometer.kernels.relative_attention import tpu_forward
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import wrap


def _refuse(chip: chips.Chip, *operands: Any, **_: Any) -> str | None:
    if operands[7].size:
        return "dropout that is not shared along the queries needs all weights at once"
    return None


FORWARD = wrap.implementation(tpu_forward.forward, lambda *a, **k: 0, _refuse)
BACKWARD = wrap.implementation(tpu_backward.backward, lambda *a, **k: 0, _refuse)
