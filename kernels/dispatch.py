"""Calls kernels as one JAX primitive, and chooses their implementations.

A kernel is one pass of an operation (forward or backward). `call` binds it as a single
named primitive, so that

- the implementation is chosen when the program is lowered, by platform and target
  device: a program can be lowered for a TPU on a machine without one;
- the FLOPs count uses the declared cost and does not look inside;
- `vmap` needs one rule: mapped axes are merged into the batch axis.

This requires that the batch is the leading axis of every operand and result, and that
an operand that all examples share (a table, a filter) has a leading axis of 1. The
gradient of a shared operand has a leading axis of size `groups`, a setting of such
kernels: 1, or more under `vmap`; group i is the sum over the i-th part of the batch.
Kernels declare this in their signature (`signature.py`), whose names are those of the
operands and settings that their functions take.
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

_PLATFORMS = ("cpu", "tpu", "cuda", "rocm")  # The platforms that JAX lowers for.


class NotSupportedError(NotImplementedError):
    """Raised if no requested implementation can run a call; says why."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The implementation chosen for one kernel call.

    Attributes:
        op: the name of the operation.
        pass_name: "forward" or "backward".
        implementation: the name of the chosen implementation.
        passed_over: why others were not chosen, each as "name: reason".
    """

    op: str
    pass_name: str
    implementation: str
    passed_over: tuple[str, ...]


def check_implementation(
    op: str, implementation: str | Sequence[str]
) -> str | tuple[str, ...]:
    """Returns `implementation` in a hashable form, after checking its names.

    Args:
        op: the name of the operation in error messages.
        implementation: a name, or several to try in order.

    Raises:
        ValueError: if there is no name, or no implementation of that name.
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
    """Calls a kernel, sharded over devices within `shard_context.shard_over`.

    Differentiable only through the operation's custom VJP in `gradient.py`.

    Args:
        kernel: the kernel to call.
        operands: arrays by name, in any order.
        settings: settings by name.
        implementation: a name, or several to try in order.

    Returns:
        The results, in the signature's order.

    Raises:
        ValueError: if names or shapes do not match the signature, or no implementation
            has the requested name.
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
    """Returns the implementation that runs a call on a platform.

    Args:
        kernel: the kernel that is called.
        operands: arrays or their shapes, by name.
        settings: settings by name.
        implementation: a name, or several to try in order.
        platform: "cpu", "tpu", "cuda", ...
        device_kind: the kind of the platform's devices; None if it is not known.
        interpreted: whether interpretable implementations may run on any platform.

    Raises:
        NotSupportedError: if none of the requested implementations can run the call;
            the message has the reason for each.
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
        return f"{kernel.op} has no implementation of that name"
    found = kernel.implementations[name]
    if not found.runs_on(platform) and not (interpreted and found.interpretable):
        return f"the program is lowered for {platform}"
    return found.refuse(device_kind, **operands, **settings)


@functools.cache
def _log_once(message: str) -> None:
    logging.getLogger(__name__).info(message)


def device_kind(devices: Iterable[Any], platforms: Sequence[str]) -> str | None:
    """Returns the kind of the first device that is of `platforms`, or None.

    Args:
        devices: devices, or abstract devices.
        platforms: names of platforms.
    """
    kinds = (
        x.device_kind for x in devices if declaration.is_among(x.platform, platforms)
    )
    return next(kinds, None)


def _lowered_kind(rule: Any, platforms: Sequence[str]) -> str | None:
    """Returns the kind of the devices that a program is lowered for, or None.

    An abstract mesh may describe the devices. Otherwise they are the client's, which
    are all of one kind. The program's own devices are not used: under plain `jit`, JAX
    passes them only to primitives that it then refuses to lower under an abstract mesh.
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
    """Returns the effects of interpreted kernels, which use ordered callbacks.

    The primitive hides them, because custom gradients do not accept effects.
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
    """Batching rule: merges the mapped axis into the leading batch axis."""
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
        f"{kernel.pass_name} pass cannot be differentiated"
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
