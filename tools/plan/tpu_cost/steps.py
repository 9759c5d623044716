"""The cases of `clinometer tpu-cost` with forward and backward pass in one program.

The gradient of a plain jnp implementation also computes the forward pass, so its
backward pass cannot be measured separately. These cases therefore compare the programs
that return the output and the gradients, made from the functions that users call.
"""

from collections.abc import Callable
from collections.abc import Iterator
import functools
from typing import Any

from clinometer import kernels
from clinometer.kernels.bench import baselines
from clinometer.tools.plan.tpu_cost import peers
from clinometer.tools.plan.tpu_cost.case import Form
from clinometer.tools.plan.tpu_cost.case import Operand
from clinometer.tools.plan.tpu_cost.case import TrainStepCase

NUM_BUCKETS = 32
CAPACITY_FACTOR = 1.25


def steps() -> list[TrainStepCase]:
    """Returns all such cases, at the shapes of `cases.py`."""
    return [
        _attention(8, 512, 8, 64, causal=False),
        _attention(8, 512, 8, 64, causal=True),
        _attention(1, 2048, 8, 64, causal=False),
        _performer(8, 512, 8, 64, causal=True),
        _performer(8, 512, 8, 64, causal=False),
        _light_conv(8, 512, 512, 8, 31),
        _light_conv(8, 512, 512, 8, 7),
        _dynamic_conv(8, 512, 512, 8, 31),
        *_switch(4096, 32, 512, 2048),
        _softmaxes(8, 4, 768, 15, 32128),
    ]


def _attention(
    batch: int, length: int, num_heads: int, width: int, *, causal: bool
) -> TrainStepCase:
    x = heads(batch, length, num_heads, width)
    table = Operand((num_heads, NUM_BUCKETS), "float32")
    bias = Operand((num_heads, length, length))
    gathered = functools.partial(baselines.attention_gathered_table, causal=causal)
    given = functools.partial(baselines.attention_given_bias, causal=causal)
    mark = "-causal" if causal else ""
    return TrainStepCase(
        "relative_attention",
        f"b{batch}h{num_heads}s{length}d{width}{mark}",
        _ours(kernels.relative_attention, causal=causal),
        (x, x, x, table),
        4,
        (x,),
        {
            "gathered-table": Form(gathered, (x, x, x, table)),
            "given-bias": Form(given, (x, x, x, bias)),
        },
        peers.attention(batch, length, num_heads, width, causal=causal),
    )


def _performer(
    batch: int, length: int, num_heads: int, width: int, *, causal: bool
) -> TrainStepCase:
    x = heads(batch, length, num_heads, width)
    forms = {
        "chunk64": Form(baselines.performer_chunk64, (x, x, x)),
        "quadratic": Form(baselines.performer_quadratic, (x, x, x)),
    }
    mark = "-causal" if causal else ""
    return TrainStepCase(
        "performer_attention",
        f"b{batch}h{num_heads}s{length}d{width}{mark}",
        _ours(kernels.performer_attention, causal=causal, epsilon=baselines.EPSILON),
        (x, x, x),
        3,
        (x,),
        forms if causal else {},
    )


def _light_conv(
    batch: int, length: int, channels: int, num_heads: int, taps: int
) -> TrainStepCase:
    x = Operand((batch, length, channels))
    inputs = (x, Operand((num_heads, taps)))
    return TrainStepCase(
        "light_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}-causal",
        _ours(kernels.light_conv, causal=True),
        inputs,
        2,
        (x,),
        {
            "shift-sum": Form(baselines.light_shift_sum, inputs),
            "lax-grouped-conv": Form(baselines.light_grouped_conv, inputs),
        },
    )


def _dynamic_conv(
    batch: int, length: int, channels: int, num_heads: int, taps: int
) -> TrainStepCase:
    x = Operand((batch, length, channels))
    stored = (batch, length, num_heads * taps)
    inputs = (x, Operand((batch, length, num_heads, taps), None, stored))
    return TrainStepCase(
        "dynamic_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}-causal",
        _ours(kernels.dynamic_conv, causal=True),
        inputs,
        2,
        (x,),
        {
            "shift-sum": Form(baselines.dynamic_shift_sum, inputs),
            "unfold": Form(baselines.dynamic_unfold, inputs),
        },
    )


def _switch(
    num_tokens: int, num_experts: int, d_model: int, d_ff: int
) -> Iterator[TrainStepCase]:
    """Yields Switch routing, and the layer that applies the experts to tokens."""
    capacity = kernels.expert_capacity(num_tokens, num_experts, CAPACITY_FACTOR)
    slots = {"num_experts": num_experts, "capacity": capacity}
    label = f"n{num_tokens}e{num_experts}c{capacity}"
    logits = Operand((1, num_tokens, num_experts), "float32")
    tokens = Operand((1, num_tokens), "float32")
    by_expert = Operand((1, num_experts), "float32")
    one_hot = functools.partial(baselines.route_one_hot_cumsum, capacity=capacity)
    yield TrainStepCase(
        "switch_route",
        label,
        _ours(kernels.switch_route, capacity=capacity),
        (logits,),
        1,
        (tokens, by_expert, by_expert, Operand((1,), "float32")),
        {"one-hot-cumsum": Form(one_hot, (logits,))},
    )

    def ours(name: str) -> Callable[..., Any]:
        def layer(x: Any, wi: Any, wo: Any, gate: Any, slot: Any, counts: Any) -> Any:
            y = kernels.switch_dispatch(x, slot, **slots, implementation=name)
            y = kernels.expert_feed_forward(
                y, wi, wo, counts, num_tokens=num_tokens, implementation=name
            )
            return kernels.switch_combine(y, slot, gate, implementation=name)

        return layer

    def jnp_layer(move: Any, combine: Any) -> Callable[..., Any]:
        def layer(x: Any, wi: Any, wo: Any, gate: Any, slot: Any, counts: Any) -> Any:
            return combine(
                baselines.expert_einsum(move(x, slot, **slots), wi, wo), gate, slot
            )

        return layer

    x = Operand((1, num_tokens, d_model))
    inputs = (
        x,
        Operand((num_experts, d_model, d_ff)),
        Operand((num_experts, d_ff, d_model)),
        tokens,
        Operand((1, num_tokens), "int32"),
        Operand((1, num_experts), "int32"),
    )
    layers = {
        "scatter": jnp_layer(baselines.dispatch_scatter, baselines.combine_gather),
        "gather": jnp_layer(baselines.dispatch_gather, baselines.combine_gather),
    }
    yield TrainStepCase(
        "switch_layer",
        f"{label}d{d_model}f{d_ff}",
        ours,
        inputs,
        4,
        (x,),
        {name: Form(layer, inputs) for name, layer in layers.items()},
    )


def _softmaxes(
    batch: int, length: int, width: int, components: int, vocabulary: int
) -> TrainStepCase:
    """Returns the head of the Mixture of Softmaxes with its gradients."""
    operands = (
        Operand((batch, length, width)),
        Operand((components, width), "float32"),
        Operand((components, width, width), "float32"),
        Operand((vocabulary, width), "float32"),
    )
    return TrainStepCase(
        "mixture_of_softmaxes",
        f"b{batch}t{length}d{width}k{components}v{vocabulary}",
        _ours(kernels.mixture_of_softmaxes),
        operands,
        len(operands),
        (Operand((batch, length, vocabulary), "float32"),),
    )


def heads(batch: int, length: int, num_heads: int, width: int) -> Operand:
    """Returns an operand [B, S, H, D] that is stored as [B, S, H * D], as in layers.

    Args:
        batch: B.
        length: S.
        num_heads: H.
        width: D.
    """
    stored = (batch, length, num_heads * width)
    return Operand((batch, length, num_heads, width), None, stored)


def _ours(operation: Callable[..., Any], **settings: Any) -> Callable[[str], Any]:
    return lambda name: functools.partial(operation, implementation=name, **settings)
