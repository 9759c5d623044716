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
under `vmap`; group i sums the i-th part of the batch. `signature.py` is how a kernel
says so; its functions are given operands and settings by their names there.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import functools
import logging
from typing import Any

import jax
import jax.experimental
from jax.extend import core
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp

from clinometer.kernels import context as context_lib
from clinometer.kernels import declaration
from clinometer.kernels import sharded

AUTO = "auto"
PRIMITIVE_NAME = "clinometer_kernel"

_PLATFORMS = ("cpu", "tpu", "cuda", "rocm")  # that JAX lowers programs for


class NotSupportedError(NotImplementedError):
    """An implementation cannot run this call; the message says why."""


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
    accepted = (AUTO, *declaration.implementation_names())
    unknown = [name for name in names if name not in accepted]
    if unknown or not names:
        raise ValueError(
            f"{op}: implementation: got {implementation!r}; accepted are "
            f"{', '.join(accepted)}, or a sequence of them to try in order"
        )
    return implementation if isinstance(implementation, str) else tuple(names)


def call(
    kernel: declaration.Kernel,
    operands: declaration.Operands,
    settings: declaration.Settings,
    implementation: str | Sequence[str],
) -> tuple[jax.Array, ...]:
    """Calls a kernel, divided over devices as `sharded.shard_over` says.

    Differentiable only through the operation's custom rule, `gradient.py`.

    Args:
        kernel: what is called.
        operands: arrays by name, in any order.
        settings: of the kernel.
        implementation: a name, or names to try in order.

    Returns:
        The results, in the signature's order.

    Raises:
        ValueError: names or shapes are not those of the signature, or no implementation
            has that name.
    """
    kernel.signature.check(str(kernel), operands, settings)
    bind = functools.partial(
        _primitive.bind,
        kernel=kernel,
        settings=tuple(sorted(settings.items())),
        implementation=check_implementation(kernel.op, implementation),
        context=context_lib.TraceContext.here(),
    )
    arrays = kernel.signature.ordered(str(kernel), operands)
    run = sharded.divided(kernel.op, bind, kernel.signature, arrays, settings)
    return tuple(run(*arrays))


def choose(
    kernel: declaration.Kernel,
    operands: declaration.Operands,
    settings: declaration.Settings,
    implementation: str | Sequence[str],
    platform: str,
    device_kind: str | None = None,
    interpreted: bool = False,
) -> Choice:
    """Returns the implementation that a call takes on a platform.

    Args:
        kernel: what is called.
        operands: their shapes, by name.
        settings: of the kernel.
        implementation: a name, or names to try in order.
        platform: "cpu", "tpu", "cuda", ...
        device_kind: of the platform; None for any.
        interpreted: what is interpretable may run on every platform.

    Raises:
        NotSupportedError: none of those asked for can run; with each one's reason.
    """
    names = [implementation] if isinstance(implementation, str) else implementation
    order: list[tuple[str, bool]] = []
    for name in names:
        auto = kernel.auto(platform)
        order += [(x, True) for x in auto] if name == AUTO else [(name, False)]
    reasons = []
    for name, is_auto in order:
        reason = _refusal(
            kernel, name, operands, settings, platform, device_kind, interpreted
        )
        if reason is None and is_auto:
            avoid = kernel.implementations[name].avoid
            reason = avoid(device_kind, **operands, **settings)
        if reason is None:
            return Choice(kernel.op, kernel.pass_name, name, tuple(reasons))
        reasons.append(f"{name}: {reason}")
    raise NotSupportedError(
        f"{kernel} has no implementation for this call: " + "; ".join(reasons)
    )


def _refusal(
    kernel: declaration.Kernel,
    name: str,
    operands: declaration.Operands,
    settings: declaration.Settings,
    platform: str,
    device_kind: str | None,
    interpreted: bool,
) -> str | None:
    if name not in kernel.implementations:
        return f"{kernel.op} has none of that name"
    found = kernel.implementations[name]
    if not found.runs_on(platform) and not (interpreted and found.interpretable):
        return f"the program is lowered for {platform}"
    return found.refuse(device_kind, **operands, **settings)


@functools.cache
def _log_once(message: str) -> None:
    logging.getLogger(__name__).info(message)


def device_kind(devices: Iterable[Any], platforms: Sequence[str]) -> str | None:
    """Returns the kind of those devices that are of the platforms; None if none is."""
    kinds = (
        x.device_kind for x in devices if declaration.is_among(x.platform, platforms)
    )
    return next(kinds, None)


def _lowered_kind(rule: Any, platforms: Sequence[str]) -> str | None:
    """Returns the kind of the devices that a program is lowered for, if it is known.

    An abstract mesh may describe them. Else they are those of the client, which are of
    one kind: under plain `jit`, JAX hands over the program's own devices only for
    primitives that it then refuses to lower under an abstract mesh.
    """
    meshes = [jax.sharding.get_abstract_mesh()]
    meshes += [x.sharding.mesh for x in rule.avals_in]
    described = [x.abstract_device for x in meshes if x.abstract_device]
    backend = rule.module_context.backend
    return device_kind(described or (backend.devices() if backend else ()), platforms)


def _lower(
    rule: Any,
    *operands: Any,
    platform: str,
    kernel: declaration.Kernel,
    settings: tuple,
    implementation: str | tuple[str, ...],
    context: context_lib.TraceContext,
) -> Any:
    interpreted = context.interpret is not None
    if context.target is None:
        platforms = kernel.target_platforms(platform, interpreted)
        context = dataclasses.replace(context, target=_lowered_kind(rule, platforms))
    choice = choose(
        kernel,
        kernel.signature.named(rule.avals_in),
        dict(settings),
        implementation,
        platform,
        context.target,
        interpreted,
    )
    passed_over = "".join(f"; not {reason}" for reason in choice.passed_over)
    _log_once(
        f"{kernel} on {context.target or platform}: "
        f"{choice.implementation}{passed_over}"
    )
    run = kernel.function(choice.implementation, dict(settings))
    if interpreted:
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


def _abstract(
    *shapes: Any, kernel: declaration.Kernel, settings: tuple, **_: Any
) -> Any:
    operands = kernel.signature.named(shapes)
    results = kernel.signature.result_shapes(operands, dict(settings))
    return [jax.core.ShapedArray(x.shape, x.dtype) for x in results]


def _batch(operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> Any:
    """Merges the mapped axis into the batch axis, which leads every operand."""
    signature = params["kernel"].signature
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

    def merge(name: str, x: jax.Array, is_mapped: bool) -> jax.Array:
        if not is_mapped:
            if x.shape[0] == 1 and signature.shared(name):
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
        merge(name, x, axis is not None)
        for name, x, axis in zip(signature.operands, operands, axes, strict=True)
    ]
    results = _primitive.bind(*merged, **params)
    split = [x.reshape(mapped, x.shape[0] // mapped, *x.shape[1:]) for x in results]
    return split, [0] * len(results)


def _jvp(primals: Any, tangents: Any, *, kernel: declaration.Kernel, **_: Any) -> Any:
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
for _platform in _PLATFORMS:
    mlir.register_lowering(
        _primitive, functools.partial(_lower, platform=_platform), platform=_platform
    )
