"""The cases of `clinometer bench`: named shapes of each operation, and its forms."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer import kernels
from clinometer.kernels.bench import baselines
from clinometer.kernels.bench import torch_baselines

OURS = ("reference", "cpu")
_SEED = 0
_NUM_BUCKETS = 32
_CAPACITY_FACTOR = 1.25


@dataclasses.dataclass(frozen=True)
class BenchmarkCase:
    """One operation at one shape.

    Attributes:
        op: the name of the operation.
        shape: the label of the shape, e.g. "b8h8s512d64".
        arguments: returns the arguments, the same at each call.
        num_gradients: how many of the first arguments get a gradient.
        ours: takes an implementation's name; returns the function to time.
        baselines: plain jnp functions of the arguments, by name.
        torch: functions of torch tensors, by name.
        gradient_tolerance: the accepted difference of gradients, relative to the
            largest value; None for the tolerance of the dtype.
    """

    op: str
    shape: str
    arguments: Callable[[], tuple[jax.Array, ...]]
    num_gradients: int
    ours: Callable[[str], Callable[..., Any]]
    baselines: Mapping[str, Callable[..., Any]]
    torch: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    gradient_tolerance: float | None = None

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Returns our implementations and the jnp baselines, by name."""
        return {name: self.ours(name) for name in OURS} | dict(self.baselines)


def cases(*, quick: bool, dtype: jax.typing.DTypeLike) -> list[BenchmarkCase]:
    """Returns all cases.

    Args:
        quick: whether to use small shapes instead of those with a target.
        dtype: the dtype of the arguments.
    """
    if quick:
        listed = [
            *_attention(dtype, 2, 64, 2, 16),
            *_performer(dtype, [(2, 64, 2, 16, True)]),
            _light_conv(dtype, 2, 64, 32, 2, 7),
            _dynamic_conv(dtype, 2, 64, 32, 2, 7),
            *_switch(dtype, 256, 8, 32, 64),
        ]
    else:
        listed = [
            *_attention(dtype, 8, 512, 8, 64),
            next(_attention(dtype, 1, 4096, 8, 64)),
            *_performer(dtype, [(8, 512, 8, 64, False), (1, 512, 8, 64, True)]),
            _light_conv(dtype, 8, 512, 512, 8, 31),
            _light_conv(dtype, 8, 512, 512, 8, 7),
            _dynamic_conv(dtype, 8, 512, 512, 8, 31),
            *_switch(dtype, 4096, 32, 512, 2048),
        ]
    return listed


def cotangents(case: BenchmarkCase, results: Sequence[Any]) -> tuple[jax.Array, ...]:
    """Returns random cotangents for the floating-point results of a case.

    Args:
        case: the case.
        results: the results' shapes and dtypes.
    """
    generator = np.random.default_rng(_SEED + 1)
    return tuple(
        _normal(generator, x.dtype, *x.shape)
        for x in results
        if jnp.issubdtype(x.dtype, jnp.floating)
    )


def _normal(
    generator: np.random.Generator, dtype: jax.typing.DTypeLike, *shape: int
) -> jax.Array:
    return jnp.asarray(generator.standard_normal(shape, np.float32), dtype)


def _attention(
    dtype: Any, batch: int, length: int, num_heads: int, width: int
) -> Iterator[BenchmarkCase]:
    """Yields bidirectional, then causal attention."""

    def arguments() -> tuple[jax.Array, ...]:
        generator = np.random.default_rng(_SEED)
        shape = (batch, length, num_heads, width)
        query, key, value = (_normal(generator, dtype, *shape) for _ in range(3))
        table = _normal(generator, dtype, num_heads, _NUM_BUCKETS)
        return query * width**-0.5, key, value, table

    label = f"b{batch}h{num_heads}s{length}d{width}"
    for causal in (False, True):
        settings = {"causal": causal}
        yield BenchmarkCase(
            "relative_attention",
            label + ("-causal" if causal else ""),
            arguments,
            4,
            _ours(kernels.relative_attention, **settings),
            {
                "gathered-table": _with(baselines.attention_gathered_table, **settings),
                "toeplitz-skew": _with(baselines.attention_toeplitz_skew, **settings),
            },
            {"torch-sdpa-bias": torch_baselines.attention(causal)},
        )


def _performer(
    dtype: Any, shapes: Sequence[tuple[int, int, int, int, bool]]
) -> Iterator[BenchmarkCase]:
    """Yields causal attention; with a scan over tokens if `scan` is set."""
    for batch, length, num_heads, width, scan in shapes:

        def arguments(
            shape: tuple[int, ...] = (batch, length, num_heads, width),
        ) -> tuple[jax.Array, ...]:
            generator = np.random.default_rng(_SEED)
            return tuple(_normal(generator, dtype, *shape) for _ in range(3))

        forms = {
            "chunk64": baselines.performer_chunk64,
            "quadratic": baselines.performer_quadratic,
        }
        if scan:
            forms["scan-tokens"] = baselines.performer_scan
        yield BenchmarkCase(
            "performer_attention",
            f"b{batch}h{num_heads}s{length}d{width}-causal",
            arguments,
            3,
            _ours(kernels.performer_attention, causal=True, epsilon=baselines.EPSILON),
            forms,
        )


def _light_conv(
    dtype: Any, batch: int, length: int, channels: int, num_heads: int, taps: int
) -> BenchmarkCase:
    def arguments() -> tuple[jax.Array, ...]:
        generator = np.random.default_rng(_SEED)
        x = _normal(generator, dtype, batch, length, channels)
        weights = jax.nn.softmax(_normal(generator, jnp.float32, num_heads, taps))
        return x, weights.astype(dtype)

    return BenchmarkCase(
        "light_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}-causal",
        arguments,
        2,
        _ours(kernels.light_conv, causal=True),
        {
            "shift-sum": baselines.light_shift_sum,
            "lax-grouped-conv": baselines.light_grouped_conv,
        },
        {"torch-conv1d": torch_baselines.light_conv},
    )


def _dynamic_conv(
    dtype: Any, batch: int, length: int, channels: int, num_heads: int, taps: int
) -> BenchmarkCase:
    def arguments() -> tuple[jax.Array, ...]:
        generator = np.random.default_rng(_SEED)
        x = _normal(generator, dtype, batch, length, channels)
        shape = (batch, length, num_heads, taps)
        weights = jax.nn.softmax(_normal(generator, jnp.float32, *shape))
        return x, weights.astype(dtype)

    return BenchmarkCase(
        "dynamic_conv",
        f"b{batch}s{length}d{channels}h{num_heads}k{taps}-causal",
        arguments,
        2,
        _ours(kernels.dynamic_conv, causal=True),
        {
            "shift-sum": baselines.dynamic_shift_sum,
            "unfold": baselines.dynamic_unfold,
        },
    )


def _switch(
    dtype: Any, num_tokens: int, num_experts: int, d_model: int, d_ff: int
) -> Iterator[BenchmarkCase]:
    """Yields routing, dispatch, combine, and a whole layer without its routing."""
    capacity = kernels.expert_capacity(num_tokens, num_experts, _CAPACITY_FACTOR)
    slots = {"num_experts": num_experts, "capacity": capacity}
    label = f"n{num_tokens}e{num_experts}c{capacity}"

    def logits() -> tuple[jax.Array, ...]:
        generator = np.random.default_rng(_SEED)
        return (_normal(generator, dtype, 1, num_tokens, num_experts),)

    @functools.cache
    def route() -> kernels.Route:
        return kernels.switch_route(
            *logits(), capacity=capacity, implementation="reference"
        )

    def rows(*shape: int) -> jax.Array:
        return _normal(np.random.default_rng(_SEED + 2), dtype, *shape)

    def layer_arguments() -> tuple[jax.Array, ...]:
        x = rows(1, num_tokens, d_model)
        wi = rows(num_experts, d_model, d_ff) * jnp.asarray(d_model**-0.5, dtype)
        wo = rows(num_experts, d_ff, d_model) * jnp.asarray(d_ff**-0.5, dtype)
        return x, wi, wo, route().gate, route().slot, route().counts

    yield BenchmarkCase(
        "switch_route",
        label,
        logits,
        1,
        _ours(kernels.switch_route, capacity=capacity),
        {"one-hot-cumsum": _with(baselines.route_one_hot_cumsum, capacity=capacity)},
    )
    dispatches = {
        "gather": _with(baselines.dispatch_gather, **slots),
        "scatter": _with(baselines.dispatch_scatter, **slots),
        "one-hot-einsum": _with(baselines.dispatch_one_hot_einsum, **slots),
    }
    yield BenchmarkCase(
        "switch_dispatch",
        f"{label}d{d_model}",
        lambda: (rows(1, num_tokens, d_model), route().slot),
        1,
        _ours(kernels.switch_dispatch, **slots),
        dispatches,
    )
    yield BenchmarkCase(
        "switch_combine",
        f"{label}d{d_model}",
        lambda: (
            rows(1, num_experts, capacity, d_model),
            route().gate,
            route().slot,
        ),
        2,
        lambda name: (
            lambda y, gate, slot: kernels.switch_combine(
                y, slot, gate, implementation=name
            )
        ),
        {
            "gather": baselines.combine_gather,
            "one-hot-einsum": baselines.combine_one_hot_einsum,
        },
    )

    def our_layer(name: str) -> Callable[..., jax.Array]:
        def layer(x: Any, wi: Any, wo: Any, gate: Any, slot: Any, counts: Any) -> Any:
            y = kernels.switch_dispatch(x, slot, **slots, implementation=name)
            y = kernels.expert_feed_forward(
                y, wi, wo, counts, num_tokens=num_tokens, implementation=name
            )
            return kernels.switch_combine(y, slot, gate, implementation=name)

        return layer

    def jnp_layer(dispatch: Any, combine: Any) -> Callable[..., jax.Array]:
        def layer(x: Any, wi: Any, wo: Any, gate: Any, slot: Any, counts: Any) -> Any:
            y = baselines.expert_einsum(dispatch(x, slot), wi, wo)
            return combine(y, gate, slot)

        return layer

    combines = dict.fromkeys(dispatches, baselines.combine_gather)
    combines["one-hot-einsum"] = baselines.combine_one_hot_einsum
    yield BenchmarkCase(
        "switch_layer",
        f"{label}d{d_model}f{d_ff}",
        layer_arguments,
        4,
        our_layer,
        {name: jnp_layer(dispatches[name], combines[name]) for name in dispatches},
        # Rounding moves a few hidden values across the ReLU's kink, where the gradient
        # is discontinuous.
        gradient_tolerance=2e-2 if jnp.dtype(dtype) == jnp.float32 else None,
    )


def _ours(operation: Callable[..., Any], **settings: Any) -> Callable[[str], Any]:
    return lambda name: functools.partial(operation, implementation=name, **settings)


def _with(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    return functools.partial(function, **settings)
