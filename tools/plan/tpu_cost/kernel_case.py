"""Makes the cases of `clinometer tpu-cost` for the passes of a kernel."""

from collections.abc import Iterator
from typing import Any

from clinometer.kernels import declaration
from clinometer.tools.plan.tpu_cost.case import CostCase
from clinometer.tools.plan.tpu_cost.case import Form
from clinometer.tools.plan.tpu_cost.case import Operand

# Functions that compute the rooflines of each operation; {} is the pass.
_ROOFLINES = {
    "relative_attention": "clinometer.kernels.relative_attention.roofline:{}",
    "performer_attention": "clinometer.kernels.performer_attention.roofline:{}",
    "light_conv": "clinometer.kernels.convolution.roofline:light_{}",
    "dynamic_conv": "clinometer.kernels.convolution.roofline:dynamic_{}",
    "switch_route": "clinometer.kernels.switch.roofline:route_{}",
    "switch_dispatch": "clinometer.kernels.switch.roofline:dispatch_{}",
    "switch_combine": "clinometer.kernels.switch.roofline:combine_{}",
    "expert_matmul": "clinometer.kernels.switch.roofline:expert_matmul_{}",
    "expert_feed_forward": "clinometer.kernels.switch.roofline:feed_forward_{}",
}


def marks(**named: bool) -> str:
    """Returns what a label says of the settings that are true, such as "-masked"."""
    return "".join(f"-{name}" for name, is_so in named.items() if is_so)


def one(
    op: str,
    label: str,
    kernel: declaration.Kernel,
    operands: dict[str, Operand],
    settings: dict[str, Any],
    forms: dict[str, Form] | None = None,
    public: dict[str, Form] | None = None,
    residuals: tuple[str, ...] = (),
) -> CostCase:
    """Returns a case of one pass of a kernel.

    Args:
        op: the name of the operation.
        label: the shapes, in words.
        kernel: the pass.
        operands: its operands by name.
        settings: its settings.
        forms: jnp forms of it, by name.
        public: public kernels for the same work, by name.
        residuals: results that are only for the backward pass.
    """
    pass_name = kernel.pass_name
    roofline = _ROOFLINES[op].format(pass_name) if op in _ROOFLINES else None
    return CostCase(
        *(op, pass_name, label, kernel, operands, settings, roofline),
        forms or {},
        public or {},
        residuals,
    )


def both(
    op: str,
    label: str,
    kernels: tuple[declaration.Kernel, declaration.Kernel],
    operands: tuple[dict[str, Operand], dict[str, Operand]],
    settings: dict[str, Any],
    forms: dict[str, Form],
    public: dict[str, Form] | None = None,
    residuals: tuple[str, ...] = (),
) -> Iterator[CostCase]:
    """Yields both passes; forms and peers are for the forward pass only.

    For those with gradients, see `steps.py`.

    Args:
        op: see `one`.
        label: see `one`.
        kernels: the forward and the backward pass.
        operands: the operands of each.
        settings: the settings of both.
        forms: see `one`.
        public: see `one`.
        residuals: results of the forward pass that are only for the backward pass.
    """
    (forward, backward), (ahead, back) = kernels, operands
    yield one(op, label, forward, ahead, settings, forms, public, residuals)
    yield one(op, label, backward, back, settings)
