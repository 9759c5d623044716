"""The cases of `clinometer tpu-cost` for the operations of a Switch layer."""

from collections.abc import Iterator
import functools

from clinometer.kernels.bench import baselines
from clinometer.kernels.switch import experts
from clinometer.kernels.switch import feed_forward
from clinometer.kernels.switch import routing
from clinometer.kernels.switch import rows
from clinometer.tools.plan.tpu_cost import kernel_case
from clinometer.tools.plan.tpu_cost import peers
from clinometer.tools.plan.tpu_cost import steps
from clinometer.tools.plan.tpu_cost.case import CostCase
from clinometer.tools.plan.tpu_cost.case import Form
from clinometer.tools.plan.tpu_cost.case import Operand


def switch(
    num_tokens: int, num_experts: int, d_model: int, d_ff: int
) -> Iterator[CostCase]:
    """Yields the forward and backward passes of a Switch layer's operations.

    There is one group of tokens.

    Args:
        num_tokens: number of tokens.
        num_experts: number of experts.
        d_model: width of the tokens.
        d_ff: hidden width of an expert.
    """
    capacity = routing.expert_capacity(num_tokens, num_experts, steps.CAPACITY_FACTOR)
    slots = {"num_experts": num_experts, "capacity": capacity}
    label = f"n{num_tokens}e{num_experts}c{capacity}"
    yield from route(1, num_tokens, num_experts, capacity)
    x = Operand((1, num_tokens, d_model))
    y = Operand((1, num_experts, capacity, d_model))
    slot = Operand((1, num_tokens), "int32")
    gate = Operand((1, num_tokens), "float32")
    forms = {
        "scatter": Form(
            functools.partial(baselines.dispatch_scatter, **slots), (x, slot)
        ),
        "gather": Form(
            functools.partial(baselines.dispatch_gather, **slots), (x, slot)
        ),
        "one-hot-einsum": Form(
            functools.partial(baselines.dispatch_one_hot_einsum, **slots), (x, slot)
        ),
    }
    name = f"{label}d{d_model}"
    operands = {"x": x, "slot": slot}
    yield kernel_case.one(
        "switch_dispatch", name, rows.DISPATCH_FORWARD, operands, slots, forms
    )
    operands = {"y_grad": y, "slot": slot, "gate": gate}
    yield kernel_case.one("switch_dispatch", name, rows.DISPATCH_BACKWARD, operands, {})
    forms = {
        "gather": Form(baselines.combine_gather, (y, gate, slot)),
        "one-hot-einsum": Form(baselines.combine_one_hot_einsum, (y, gate, slot)),
    }
    operands = {"y": y, "slot": slot, "gate": gate}
    yield kernel_case.one(
        "switch_combine", name, rows.COMBINE_FORWARD, operands, {}, forms
    )
    operands = operands | {"output_grad": x}
    yield kernel_case.one("switch_combine", name, rows.COMBINE_BACKWARD, operands, {})
    counts = Operand((1, num_experts), "int32")
    settings = {"num_tokens": num_tokens, "num_experts": num_experts, "groups": 1}
    for first, last in ((d_model, d_ff), (d_ff, d_model)):
        name = f"{label}d{first}f{last}"
        here = Operand((1, num_experts, capacity, first))
        grad = Operand((1, num_experts, capacity, last))
        w = Operand((1, num_experts, first, last))
        operands = {"x": here, "w": w, "counts": counts}
        public = peers.expert_matmul(num_experts, capacity, first, last)
        yield kernel_case.one(
            "expert_matmul", name, experts.FORWARD, operands, settings, {}, public
        )
        operands = operands | {"y_grad": grad}
        yield kernel_case.one(
            "expert_matmul", name, experts.BACKWARD, operands, settings
        )
    sizes = (1, num_tokens, num_experts, capacity, d_model, d_ff)
    yield from expert_feed_forward(*sizes)
    yield from expert_feed_forward(*sizes, dropout_rate=0.1)


def expert_feed_forward(
    groups: int,
    num_tokens: int,
    num_experts: int,
    capacity: int,
    d_model: int,
    d_ff: int,
    *,
    dropout_rate: float = 0.0,
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of the experts' feed-forward layer.

    Args:
        groups: number of groups of tokens.
        num_tokens: number of tokens per group.
        num_experts: number of experts.
        capacity: number of slots per expert.
        d_model: width of the tokens.
        d_ff: hidden width of an expert.
        dropout_rate: rate of dropout on the hidden rows.
    """
    x = Operand((groups, num_experts, capacity, d_model))
    hidden = (groups, num_experts, capacity, d_ff)
    drawn = dropout_rate > 0
    operands = {
        "x": x,
        "wi": Operand((1, num_experts, d_model, d_ff)),
        "wo": Operand((1, num_experts, d_ff, d_model)),
        "counts": Operand((groups, num_experts), "int32"),
        "keep": Operand(hidden if drawn else (groups, 0, 0, 0), "bool"),
        "seeds": Operand((groups, num_experts if drawn else 0), "int32"),
        "column_keys": Operand((1, d_ff if drawn else 0), "int32"),
    }
    label = f"n{num_tokens}e{num_experts}c{capacity}d{d_model}f{d_ff}"
    label = (
        (f"g{groups}" if groups > 1 else "") + label + kernel_case.marks(dropout=drawn)
    )
    settings = {"num_tokens": num_tokens, "num_experts": num_experts, "groups": 1}
    yield from kernel_case.both(
        "expert_feed_forward",
        label,
        (feed_forward.FORWARD, feed_forward.BACKWARD),
        (operands, operands | {"hidden": Operand(hidden), "y_grad": x}),
        settings | {"dropout_rate": dropout_rate},
        {},
        residuals=("hidden",),
    )


def route(
    groups: int,
    num_tokens: int,
    num_experts: int,
    capacity: int,
    *,
    masked: bool = False,
    dtype: str | None = "float32",
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of Switch routing.

    Args:
        groups: number of groups of tokens.
        num_tokens: number of tokens per group.
        num_experts: number of experts.
        capacity: number of slots per expert.
        masked: whether tokens are masked.
        dtype: dtype of the logits, which is float32 in models.
    """
    logits = Operand((groups, num_tokens, num_experts), dtype)
    mask = Operand((groups if masked else 1, num_tokens), "bool")
    tokens = Operand((groups, num_tokens), "float32")
    label = f"n{num_tokens}e{num_experts}c{capacity}"
    label = (
        (f"g{groups}" if groups > 1 else "") + label + kernel_case.marks(masked=masked)
    )
    one_hot = functools.partial(baselines.route_one_hot_cumsum, capacity=capacity)
    yield kernel_case.one(
        "switch_route",
        label,
        routing.FORWARD,
        {"logits": logits, "mask": mask},
        {"capacity": capacity},
        {} if masked else {"one-hot-cumsum": Form(one_hot, (logits,))},
    )
    operands = {
        "logits": logits,
        "mask": mask,
        "expert_index": Operand((groups, num_tokens), "int32"),
        "gate": tokens,
        "gate_grad": tokens,
        "probability_grad": Operand((groups, num_experts), "float32"),
        "z_grad": Operand((groups,), "float32"),
    }
    yield kernel_case.one("switch_route", label, routing.BACKWARD, operands, {})
