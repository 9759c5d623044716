"""Lower bounds on the cycles of the Mixture of Softmaxes on a TPU."""

from collections.abc import Mapping
from typing import Any

from clinometer.kernels.mixture_of_softmaxes import specs
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline

_CONTEXT_PRODUCTS = 3  # Products of bfloat16 numbers in a product of float32 numbers.


def forward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the forward pass.

    Args:
        chip: the chip that runs the kernel.
        operands: arrays or their shapes, by name.
        settings: settings by name.
    """
    # In base 2: a logit's scale, its difference from a maximum and two sums.
    size = specs.FORWARD.bytes(operands, settings)
    return _roofline(chip, operands, products=1, operations=4, size=size)


def backward(
    chip: chips.Chip, operands: Mapping[str, Any], settings: Mapping[str, Any]
) -> roofline.Roofline:
    """Returns the roofline of the backward pass; see `forward`.

    The logits are computed again, and with them the contexts.
    """
    # Its scale, two differences for each of two exponentials, their three products and
    # two sums.
    size = specs.BACKWARD.bytes(operands, settings)
    return _roofline(chip, operands, products=3, operations=10, size=size)


def _roofline(
    chip: chips.Chip,
    operands: Mapping[str, Any],
    products: int,
    operations: int,
    size: int,
) -> roofline.Roofline:
    """Returns the roofline of as many products of contexts as of logits."""
    h, mixture, table = (operands[name] for name in ("h", "mixture", "table"))
    batch, length, width = h.shape
    tokens, components = batch * length, mixture.shape[1]
    rows, vocabulary = tokens * components, table.shape[1]
    contexts = components * roofline.mxu_cycles(chip, tokens, width, width)
    logits = roofline.mxu_cycles(chip, rows, width, vocabulary)
    return roofline.Roofline(
        mxu=products * (_CONTEXT_PRODUCTS * contexts + logits),
        vpu=roofline.vpu_cycles(rows * vocabulary, operations),
        # An exponential of each logit, and in the backward pass one of each share.
        eup=roofline.eup_cycles(rows * vocabulary * (1 if products == 1 else 2)),
        hbm=roofline.hbm_cycles(chip, size),
    )
