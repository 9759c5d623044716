"""The cases of `clinometer tpu-cost`: the kernels at the shapes of real layers."""

from collections.abc import Iterator
import functools

from clinometer.kernels.bench import baselines
from clinometer.kernels.convolution import dynamic
from clinometer.kernels.convolution import light
from clinometer.kernels.performer_attention import api as performer_api
from clinometer.kernels.relative_attention import api as attention_api
from clinometer.tools.plan.tpu_cost import kernel_case
from clinometer.tools.plan.tpu_cost import peers
from clinometer.tools.plan.tpu_cost import steps
from clinometer.tools.plan.tpu_cost import switch_cases
from clinometer.tools.plan.tpu_cost.case import CostCase
from clinometer.tools.plan.tpu_cost.case import Form
from clinometer.tools.plan.tpu_cost.case import Operand
from clinometer.tools.plan.tpu_cost.case import TrainStepCase
from clinometer.tools.plan.tpu_cost.kernel_case import marks


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
        *switch_cases.switch(4096, 32, 512, 2048),
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
    marked = marks(causal=causal, nobias=not biased, masked=masked)
    yield from kernel_case.both(
        "relative_attention",
        f"b{batch}h{num_heads}s{length}{keys}d{width}{marked}",
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
    yield from kernel_case.both(
        "performer_attention",
        f"b{batch}h{num_heads}s{length}d{width}{marks(causal=causal, masked=masked)}",
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
    yield from kernel_case.both(
        "light_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}{marks(causal=causal)}",
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
    yield from kernel_case.both(
        "dynamic_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}{marks(causal=causal)}",
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
