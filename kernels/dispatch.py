"""One boundary for every kernel: which implementation runs, what it costs, vmap.

A kernel is one pass of an operation (its forward or its backward). `call` puts it into
the program as one named primitive, so that

- the choice among implementations falls when the program is lowered, by platform and
  target device: a program can be lowered for a TPU on a machine that has none;
- the FLOPs count takes the declared cost at this boundary and never looks inside;
- `vmap` is one rule: mapped axes are merged into the batch axis.

For that, every operand and result has the batch as its leading axis, and an operand
that all examples share (a table, a filter) has a leading axis of 1. The gradient of a
shared operand has `groups` for its leading axis, a setting of such kernels: 1, and more
under `vmap`; group i sums the i-th part of the batch.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import logging
import math
from typing import Any

import jax
import jax.experimental
from jax.extend import core
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp

from clinometer.kernels import context as context_lib
from clinometer.kernels import sharded

IMPLEMENTATIONS = ("reference", "cpu", "tpu")
AUTO_ORDER = {"cpu": ("cpu", "reference"), "tpu": ("tpu", "reference")}
PRIMITIVE_NAME = "clinometer_kernel"

Settings = dict[str, Any]  # hashable values by name


class NotSupportedError(NotImplementedError):
    """An implementation cannot run this call; the message says why."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one call needs, whatever implements it.

    Attributes:
        flops: of the products, two a multiply-add; masked positions count.
        bytes: operands read once and results written once.
    """

    flops: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Implementation:
    """One way to run a kernel.

    Attributes:
        run: operands and settings to a tuple of results; traceable.
        refuse: target device kind, operands' shapes and settings to a reason why it
            cannot run, or None. It is asked on its own platform only.
        executed_flops: operands' shapes and settings to the FLOPs that it executes;
            None where they can be counted on the jaxpr of `run`.
        avoid: as `refuse`, but heeded by "auto" only: why another is faster.
    """

    run: Callable[..., tuple[jax.Array, ...]]
    refuse: Callable[..., str | None] = lambda *args, **settings: None
    executed_flops: Callable[..., int] | None = None
    avoid: Callable[..., str | None] = lambda *args, **settings: None


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One pass of an operation.

    Attributes:
        op: name of the operation.
        pass_name: "forward" or "backward".
        results: operands' shapes and settings to the shapes of the results.
        flops: operands' shapes and settings to the algorithmic FLOPs.
        implementations: by name.
        shared: operands, by place, that all examples share if they lead with 1, even
            where the batch is 1 too: `vmap` does not repeat them.
        head_axes: the places of the heads, over which `sharded` may divide it; None
            without heads.
        expert_axes: likewise of the experts.
    """

    op: str
    pass_name: str
    results: Callable[..., tuple[jax.ShapeDtypeStruct, ...]]
    flops: Callable[..., int]
    implementations: Mapping[str, Implementation]
    shared: tuple[int, ...] = ()
    head_axes: sharded.Places | None = None
    expert_axes: sharded.Places | None = None

    def cost(self, *shapes: Any, **settings: Any) -> Cost:
        """Returns the declared cost of a call with operands of these shapes."""
        arrays = (*shapes, *self.results(*shapes, **settings))
        size = sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in arrays)
        return Cost(self.flops(*shapes, **settings), size)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What `auto` or a sequence took for one kernel call, and what it passed over."""

    op: str
    pass_name: str
    implementation: str
    passed_over: tuple[str, ...]  # reasons, each led by the implementation's name


def check_implementation(
    op: str, implementation: str | Sequence[str]
) -> str | tuple[str, ...]:
    """Returns `implementation`, hashable; ValueError unless it names what there is.

    Args:
        op: the operation that the message names.
        implementation: a name or names to try in order.
    """
    names = [implementation] if isinstance(implementation, str) else implementation
    accepted = ("auto", *IMPLEMENTATIONS)
    unknown = [name for name in names if name not in accepted]
    if unknown or not names:
        raise ValueError(
            f"{op}: implementation: got {implementation!r}; accepted are "
            f"{', '.join(accepted)}, or a sequence of them to try in order"
        )
    return implementation if isinstance(implementation, str) else tuple(names)


def call(
    kernel: Kernel,
    operands: Sequence[jax.Array],
    settings: Settings,
    implementation: str | Sequence[str],
) -> tuple[jax.Array, ...]:
    """Calls a kernel, divided over devices as `sharded.shard_over` says.

    Differentiable only through the operation's custom rule.
    """
    bind = functools.partial(
        _primitive.bind,
        kernel=kernel,
        settings=tuple(sorted(settings.items())),
        implementation=check_implementation(kernel.op, implementation),
        context=context_lib.Context.here(),
    )
    results = kernel.results(*operands, **settings)
    places = {"heads": kernel.head_axes, "experts": kernel.expert_axes}
    return tuple(sharded.run(kernel.op, bind, operands, results, places))


def choose(
    kernel: Kernel,
    shapes: Sequence[Any],
    settings: Settings,
    implementation: str | Sequence[str],
    platform: str,
    device_kind: str | None = None,
    interpreted: bool = False,
) -> Choice:
    """Returns the implementation that a call takes on a platform.

    Args:
        kernel: what is called.
        shapes: of the operands.
        settings: of the kernel.
        implementation: a name, or names to try in order.
        platform: "cpu", "tpu", ...
        device_kind: of the platform; None for any.
        interpreted: "tpu" may run on every platform, see `interpret`.

    Raises:
        NotSupportedError: none of those asked for can run; with each one's reason.
    """
    names = [implementation] if isinstance(implementation, str) else implementation
    order: list[tuple[str, bool]] = []
    for name in names:
        auto = AUTO_ORDER.get(platform, ("reference",))
        order += [(x, True) for x in auto] if name == "auto" else [(name, False)]
    reasons = []
    for name, is_auto in order:
        elsewhere = interpreted and name == "tpu"
        reason = _refusal(
            kernel, name, shapes, settings, name if elsewhere else platform, device_kind
        )
        if reason is None and is_auto:
            avoid = kernel.implementations[name].avoid
            reason = avoid(device_kind, *shapes, **settings)
        if reason is None:
            return Choice(kernel.op, kernel.pass_name, name, tuple(reasons))
        reasons.append(f"{name}: {reason}")
    raise NotSupportedError(
        f"{kernel.op} ({kernel.pass_name}) has no implementation for this call: "
        + "; ".join(reasons)
    )


def _refusal(
    kernel: Kernel,
    name: str,
    shapes: Sequence[Any],
    settings: Settings,
    platform: str,
    device_kind: str | None,
) -> str | None:
    if name not in kernel.implementations:
        return f"{kernel.op} has none of that name"
    if name != "reference" and name != platform:
        return f"the program is lowered for {platform}"
    refuse = kernel.implementations[name].refuse
    return refuse(device_kind, *shapes, **settings)


@functools.cache
def _log_once(message: str) -> None:
    logging.getLogger(__name__).info(message)


def device_kind(devices: Iterable[Any], platform: str) -> str | None:
    """Returns the kind of those devices that are of a platform; None if none is."""
    return next((x.device_kind for x in devices if x.platform == platform), None)


def _lowered_kind(rule: Any, platform: str, context: context_lib.Context) -> str | None:
    """Returns the kind of the devices that a program is lowered for, if it is known.

    An abstract mesh may describe them. Else they are those of the client, which are of
    one kind: under plain `jit`, JAX hands over the program's own devices only for
    primitives that it then refuses to lower under an abstract mesh.
    """
    if context.interpret is not None:
        platform = "tpu"  # What is interpreted is a TPU's, of no kind on other devices.
    meshes = [jax.sharding.get_abstract_mesh()]
    meshes += [x.sharding.mesh for x in rule.avals_in]
    described = [x.abstract_device for x in meshes if x.abstract_device]
    backend = rule.module_context.backend
    return device_kind(described or (backend.devices() if backend else ()), platform)


def _lower(
    rule: Any,
    *operands: Any,
    platform: str,
    kernel: Kernel,
    settings: tuple,
    implementation: str | tuple[str, ...],
    context: context_lib.Context,
) -> Any:
    if context.target is None:
        context = dataclasses.replace(
            context, target=_lowered_kind(rule, platform, context)
        )
    choice = choose(
        kernel,
        rule.avals_in,
        dict(settings),
        implementation,
        platform,
        context.target,
        context.interpret is not None,
    )
    passed_over = "".join(f"; not {reason}" for reason in choice.passed_over)
    _log_once(
        f"{choice.op} ({choice.pass_name}) on {context.target or platform}: "
        f"{choice.implementation}{passed_over}"
    )
    run = functools.partial(
        kernel.implementations[choice.implementation].run, **dict(settings)
    )
    if context.interpret is not None:
        rule = rule.replace(tokens_in=mlir.TokenSet.create(_ordered_effects()))
    with context.entered():
        return mlir.lower_fun(run, multiple_results=True)(rule, *operands)


@functools.cache
def _ordered_effects() -> frozenset[Any]:
    """The effects of interpreted kernels, whose callbacks come in order.

    They are hidden in the primitive, as custom gradients accept none.
    """

    def callback() -> None:
        return jax.experimental.io_callback(lambda: None, None, ordered=True)

    return frozenset(jax.make_jaxpr(callback)().effects)


def _abstract(*shapes: Any, kernel: Kernel, settings: tuple, **_: Any) -> Any:
    results = kernel.results(*shapes, **dict(settings))
    return [jax.core.ShapedArray(x.shape, jnp.dtype(x.dtype)) for x in results]


def _batch(operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> Any:
    """Merges the mapped axis into the batch axis, which leads every operand."""
    mapped = next(
        x.shape[axis]
        for x, axis in zip(operands, axes, strict=True)
        if axis is not None
    )
    operands = [
        x if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    batch = max(
        x.shape[0 if axis is None else 1]
        for x, axis in zip(operands, axes, strict=True)
    )

    def merge(place: int, x: jax.Array, is_mapped: bool) -> jax.Array:
        if not is_mapped:
            # In a batch of 1, only the kernel can tell what is shared by all.
            if x.shape[0] == 1 and (batch > 1 or place in params["kernel"].shared):
                return x
            x = jnp.broadcast_to(x[None], (mapped, *x.shape))
        rows = (mapped, batch, *x.shape[2:])
        x = jnp.broadcast_to(x, rows)
        return x.reshape(mapped * batch, *x.shape[2:])

    settings = dict(params["settings"])
    if "groups" in settings:
        settings["groups"] *= mapped
    params["settings"] = tuple(sorted(settings.items()))
    merged = [
        merge(place, x, axis is not None)
        for place, (x, axis) in enumerate(zip(operands, axes, strict=True))
    ]
    results = _primitive.bind(*merged, **params)
    split = [x.reshape(mapped, x.shape[0] // mapped, *x.shape[1:]) for x in results]
    return split, [0] * len(results)


def _jvp(primals: Any, tangents: Any, *, kernel: Kernel, **_: Any) -> Any:
    raise NotImplementedError(
        f"{kernel.op}: only first derivatives in reverse mode are implemented; its "
        f"{kernel.pass_name} pass cannot be differentiated again"
    )


def _bind(*operands: Any, **params: Any) -> Any:
    return _primitive.bind(*operands, **params)


_primitive = core.Primitive(PRIMITIVE_NAME)
_primitive.multiple_results = True
_primitive.def_abstract_eval(_abstract)
_primitive.def_impl(
    jax.jit(_bind, static_argnames=("kernel", "settings", "implementation", "context"))
)
batching.primitive_batchers[_primitive] = _batch
ad.primitive_jvps[_primitive] = _jvp
for _platform in ("cpu", "tpu", "cuda", "rocm"):
    mlir.register_lowering(
        _primitive, functools.partial(_lower, platform=_platform), platform=_platform
    )
