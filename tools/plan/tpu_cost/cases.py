"""The cases of `clinometer tpu-cost`: the kernels at the shapes of real layers."""

from collections.abc import Iterator
import functools
from typing import Any

from clinometer.kernels import declaration
from clinometer.kernels.bench import baselines
from clinometer.kernels.convolution import dynamic
from clinometer.kernels.convolution import light
from clinometer.kernels.mixture_of_softmaxes import api as mixture_api
from clinometer.kernels.performer_attention import api as performer_api
from clinometer.kernels.relative_attention import api as attention_api
from clinometer.kernels.switch import experts
from clinometer.kernels.switch import feed_forward
from clinometer.kernels.switch import routing
from clinometer.kernels.switch import rows
from clinometer.tools.plan.tpu_cost import peers
from clinometer.tools.plan.tpu_cost import steps
from clinometer.tools.plan.tpu_cost.case import CostCase
from clinometer.tools.plan.tpu_cost.case import Form
from clinometer.tools.plan.tpu_cost.case import Operand
from clinometer.tools.plan.tpu_cost.case import TrainStepCase

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
    "mixture_of_softmaxes": "clinometer.kernels.mixture_of_softmaxes.roofline:{}",
}


def cases() -> list[CostCase | TrainStepCase]:
    """Returns all cases, with the shapes of the base models' layers."""
    return [
        *attention(8, 512, 8, 64, causal=False),
        *attention(8, 512, 8, 64, causal=True),
        *attention(1, 2048, 8, 64, causal=False),
        *performer(8, 512, 8, 64, causal=True),
        *performer(8, 512, 8, 64, causal=False),
        *light_conv(8, 512, 512, 8, 31),
        *light_conv(8, 512, 512, 8, 7),
        *dynamic_conv(8, 512, 512, 8, 31),
        *switch(4096, 32, 512, 2048),
        *mixture(8, 8, 768, 15, 32128),
        *steps.steps(),
    ]


def attention(
    batch: int,
    length: int,
    num_heads: int,
    width: int,
    *,
    causal: bool,
    num_keys: int | None = None,
    biased: bool = True,
    masked: bool = False,
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of relative attention.

    Args:
        batch: number of examples.
        length: number of queries.
        num_heads: number of heads.
        width: width of a head.
        causal: whether queries don't attend to later keys.
        num_keys: number of keys, by default that of queries.
        biased: whether there is a bias; cross-attention has none.
        masked: whether keys are masked.
    """
    num_keys = num_keys or length
    query = steps.heads(batch, length, num_heads, width)
    key = steps.heads(batch, num_keys, num_heads, width)
    distances = length + num_keys - 1 if biased else 0
    segments = batch if masked else 1
    operands = {
        "query": query,
        "key": key,
        "value": key,
        "bias": Operand((1, num_heads, distances), "float32"),
        "query_segments": Operand((segments, length), "int32"),
        "key_segments": Operand((segments, num_keys), "int32"),
        "offset": Operand((1,), "int32"),
        "multiplier": Operand((1, 0, 0, 0), "float32"),
    }
    more = {
        "output": query,
        "log_sum_exp": Operand((batch, num_heads, length), "float32"),
        "output_grad": query,
    }
    forms, public = {}, {}
    if biased and not masked and num_keys == length:
        public = peers.attention(batch, length, num_heads, width, causal=causal)
        table = Operand((num_heads, steps.NUM_BUCKETS), "float32")
        bias = Operand((num_heads, length, length))
        gathered = functools.partial(baselines.attention_gathered_table, causal=causal)
        given = functools.partial(baselines.attention_given_bias, causal=causal)
        forms = {
            "gathered-table": Form(gathered, (query, key, key, table)),
            "given-bias": Form(given, (query, key, key, bias)),
        }
    keys = "" if num_keys == length else f"k{num_keys}"
    marks = _marks(causal=causal, nobias=not biased, masked=masked)
    yield from _both(
        "relative_attention",
        f"b{batch}h{num_heads}s{length}{keys}d{width}{marks}",
        (attention_api.FORWARD, attention_api.BACKWARD),
        (operands, operands | more),
        {"causal": causal, "masked": masked, "groups": 1},
        forms,
        public,
    )


def performer(
    batch: int,
    length: int,
    num_heads: int,
    width: int,
    *,
    causal: bool,
    masked: bool = False,
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of Performer attention.

    Args:
        batch: number of examples.
        length: length of the sequences.
        num_heads: number of heads.
        width: width of a head.
        causal: whether queries don't attend to later keys.
        masked: whether keys are masked.
    """
    x = steps.heads(batch, length, num_heads, width)
    mask = Operand((batch, length) if masked else (1, 0), "float32")
    operands = {"query": x, "key": x, "value": x, "mask": mask}
    denominator = Operand((batch, num_heads, length), "float32")
    more = {"output": x, "denominator": denominator, "output_grad": x}
    forms = {}
    if causal and not masked:
        forms = {
            "chunk64": Form(baselines.performer_chunk64, (x, x, x)),
            "quadratic": Form(baselines.performer_quadratic, (x, x, x)),
        }
    yield from _both(
        "performer_attention",
        f"b{batch}h{num_heads}s{length}d{width}{_marks(causal=causal, masked=masked)}",
        (performer_api.FORWARD, performer_api.BACKWARD),
        (operands, operands | more),
        {"causal": causal, "epsilon": baselines.EPSILON},
        forms,
    )


def light_conv(
    batch: int,
    length: int,
    channels: int,
    num_heads: int,
    taps: int,
    *,
    causal: bool = True,
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of lightweight convolution.

    Args:
        batch: number of examples.
        length: length of the sequences.
        channels: number of channels.
        num_heads: number of filters, each shared by a group of channels.
        taps: width of a filter.
        causal: whether outputs don't depend on later inputs.
    """
    x = Operand((batch, length, channels))
    operands = {"x": x, "weights": Operand((1, num_heads, taps))}
    filters = Operand((num_heads, taps))
    yield from _both(
        "light_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}{_marks(causal=causal)}",
        (light.FORWARD, light.BACKWARD),
        (operands, operands | {"output_grad": x}),
        {"causal": causal, "groups": 1},
        {
            "shift-sum": Form(baselines.light_shift_sum, (x, filters)),
            "lax-grouped-conv": Form(baselines.light_grouped_conv, (x, filters)),
        }
        if causal
        else {},
    )


def dynamic_conv(
    batch: int,
    length: int,
    channels: int,
    num_heads: int,
    taps: int,
    *,
    causal: bool = True,
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of dynamic convolution.

    Args:
        batch: number of examples.
        length: length of the sequences.
        channels: number of channels.
        num_heads: number of filters per position, each shared by a group of channels.
        taps: width of a filter.
        causal: whether outputs don't depend on later inputs.
    """
    x = Operand((batch, length, channels))
    weights = Operand(
        (batch, length, num_heads, taps), None, (batch, length, num_heads * taps)
    )
    operands = {"x": x, "weights": weights}
    yield from _both(
        "dynamic_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}{_marks(causal=causal)}",
        (dynamic.FORWARD, dynamic.BACKWARD),
        (operands, operands | {"output_grad": x}),
        {"causal": causal},
        {
            "shift-sum": Form(baselines.dynamic_shift_sum, (x, weights)),
            "unfold": Form(baselines.dynamic_unfold, (x, weights)),
        }
        if causal
        else {},
    )


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
    yield _case("switch_dispatch", name, rows.DISPATCH_FORWARD, operands, slots, forms)
    operands = {"y_grad": y, "slot": slot, "gate": gate}
    yield _case("switch_dispatch", name, rows.DISPATCH_BACKWARD, operands, {})
    forms = {
        "gather": Form(baselines.combine_gather, (y, gate, slot)),
        "one-hot-einsum": Form(baselines.combine_one_hot_einsum, (y, gate, slot)),
    }
    operands = {"y": y, "slot": slot, "gate": gate}
    yield _case("switch_combine", name, rows.COMBINE_FORWARD, operands, {}, forms)
    operands = operands | {"output_grad": x}
    yield _case("switch_combine", name, rows.COMBINE_BACKWARD, operands, {})
    counts = Operand((1, num_experts), "int32")
    settings = {"num_tokens": num_tokens, "num_experts": num_experts, "groups": 1}
    for first, last in ((d_model, d_ff), (d_ff, d_model)):
        name = f"{label}d{first}f{last}"
        here = Operand((1, num_experts, capacity, first))
        grad = Operand((1, num_experts, capacity, last))
        w = Operand((1, num_experts, first, last))
        operands = {"x": here, "w": w, "counts": counts}
        public = peers.expert_matmul(num_experts, capacity, first, last)
        yield _case(
            "expert_matmul", name, experts.FORWARD, operands, settings, {}, public
        )
        operands = operands | {"y_grad": grad}
        yield _case("expert_matmul", name, experts.BACKWARD, operands, settings)
    yield from expert_feed_forward(1, num_tokens, num_experts, capacity, d_model, d_ff)


def expert_feed_forward(
    groups: int,
    num_tokens: int,
    num_experts: int,
    capacity: int,
    d_model: int,
    d_ff: int,
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of the experts' feed-forward layer.

    Args:
        groups: number of groups of tokens.
        num_tokens: number of tokens per group.
        num_experts: number of experts.
        capacity: number of slots per expert.
        d_model: width of the tokens.
        d_ff: hidden width of an expert.
    """
    x = Operand((groups, num_experts, capacity, d_model))
    operands = {
        "x": x,
        "wi": Operand((1, num_experts, d_model, d_ff)),
        "wo": Operand((1, num_experts, d_ff, d_model)),
        "counts": Operand((groups, num_experts), "int32"),
    }
    label = f"n{num_tokens}e{num_experts}c{capacity}d{d_model}f{d_ff}"
    label = (f"g{groups}" if groups > 1 else "") + label
    hidden = Operand((groups, num_experts, capacity, d_ff))
    yield from _both(
        "expert_feed_forward",
        label,
        (feed_forward.FORWARD, feed_forward.BACKWARD),
        (operands, operands | {"hidden": hidden, "y_grad": x}),
        {"num_tokens": num_tokens, "num_experts": num_experts, "groups": 1},
        {},
        residuals=("hidden",),
    )


def mixture(
    batch: int, length: int, width: int, components: int, vocabulary: int
) -> Iterator[CostCase]:
    """Yields the forward and backward pass of the Mixture of Softmaxes' head.

    Args:
        batch: number of examples.
        length: number of positions.
        width: width of the model.
        components: number of softmaxes.
        vocabulary: size of the vocabulary.
    """
    operands = {
        "h": Operand((batch, length, width)),
        "mixture": Operand((1, components, width), "float32"),
        "context": Operand((1, components, width, width), "float32"),
        "table": Operand((1, vocabulary, width), "float32"),
    }
    output = Operand((batch, length, vocabulary), "float32")
    more = {
        "output": output,
        "normalizer": Operand((batch, length, components), "float32"),
        "output_grad": output,
    }
    yield from _both(
        "mixture_of_softmaxes",
        f"b{batch}t{length}d{width}k{components}v{vocabulary}",
        (mixture_api.FORWARD, mixture_api.BACKWARD),
        (operands, operands | more),
        {"chunk_tokens": 32, "groups": 1},
        {},
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
    label = (f"g{groups}" if groups > 1 else "") + label + _marks(masked=masked)
    one_hot = functools.partial(baselines.route_one_hot_cumsum, capacity=capacity)
    yield _case(
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
    yield _case("switch_route", label, routing.BACKWARD, operands, {})


def _marks(**named: bool) -> str:
    return "".join(f"-{name}" for name, is_so in named.items() if is_so)


def _case(
    op: str,
    label: str,
    kernel: declaration.Kernel,
    operands: dict[str, Operand],
    settings: dict[str, Any],
    forms: dict[str, Form] | None = None,
    public: dict[str, Form] | None = None,
    residuals: tuple[str, ...] = (),
) -> CostCase:
    pass_name = kernel.pass_name
    roofline = _ROOFLINES[op].format(pass_name) if op in _ROOFLINES else None
    return CostCase(
        *(op, pass_name, label, kernel, operands, settings, roofline),
        forms or {},
        public or {},
        residuals,
    )


def _both(
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
    """
    (forward, backward), (ahead, back) = kernels, operands
    yield _case(op, label, forward, ahead, settings, forms, public, residuals)
    yield _case(op, label, backward, back, settings)
