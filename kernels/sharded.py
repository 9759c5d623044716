"""The one place that puts a kernel under `jax.shard_map`.

XLA cannot divide a kernel: over a mesh it would gather the operands and run all of it
on every device. So each kernel call is divided here, one pass at a time and below its
gradient's rule, so that nothing is ever differentiated through `shard_map`.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import math
from typing import Any

import jax

from clinometer.kernels.signature import Signature

AxisNames = tuple[str, ...]
# What a kernel's independent axis is, by its letter in the signature.
_KINDS = {"h": "heads", "e": "experts"}


@dataclasses.dataclass(frozen=True)
class _Sharding:
    mesh: jax.sharding.Mesh
    batch: AxisNames
    heads: AxisNames
    experts: AxisNames

    def check_divides(self, op: str, what: str, size: int, names: AxisNames) -> None:
        parts = math.prod(self.mesh.shape[name] for name in names)
        if size % parts:
            raise ValueError(
                f"{op}: {what} of {size} cannot be divided over the {parts} parts of "
                f"the mesh's axes {', '.join(names)}, which `shard_over` asks for"
            )


# A part of jit's cache key.
_sharding = jax.make_user_context(default_value=None)


@contextlib.contextmanager
def shard_over(
    mesh: jax.sharding.Mesh,
    *,
    batch: str | Sequence[str] = (),
    heads: str | Sequence[str] = (),
    experts: str | Sequence[str] = (),
) -> Iterator[None]:
    """Divides the kernel calls that are traced inside over axes of a mesh.

    Each device runs its part of the batch, of the heads (of a convolution, the channels
    of those heads) and, in the experts' products, of the experts. Operations without
    them are divided by batch only. Gradients of what all examples share are summed over
    the devices. Along other axes of the mesh every device runs the same: a kernel
    cannot be left to the compiler there. Axes that are manual already, in a
    `jax.shard_map` of the caller's, are left alone: there, arrays are of one device.

    Args:
        mesh: whose axes are of type Auto.
        batch: axes over which the batch (the groups of Switch operations) is divided.
        heads: axes over which the heads are divided.
        experts: axes over which experts are divided; they may be those of the heads.

    Raises:
        ValueError: the mesh has no such axis, or one is named twice; inside, where a
            batch or a number of heads or experts cannot be divided evenly.
    """
    names = [(x,) if isinstance(x, str) else tuple(x) for x in (batch, heads, experts)]
    for other in names[1:]:
        named = [*names[0], *other]
        if len(set(named)) < len(named) or not set(named) <= set(mesh.axis_names):
            raise ValueError(
                f"shard_over: batch={batch!r}, heads={heads!r} and experts={experts!r} "
                "must name axes of the mesh, none beside batch's again; it has "
                f"{', '.join(map(repr, mesh.axis_names))}"
            )
    with _sharding(_Sharding(mesh, *names)):
        yield


def divided(
    op: str,
    function: Callable[..., tuple[jax.Array, ...]],
    signature: Signature,
    operands: Sequence[jax.Array],
    settings: Mapping[str, Any],
) -> Callable[..., tuple[jax.Array, ...]]:
    """Returns one pass of an operation, divided as `shard_over` says.

    Arrays have the batch as their leading axis, or 1: then they are shared by all
    examples, and as results they are summed over the parts of the batch.

    Args:
        op: the operation that errors name.
        function: operands to results; returned as it is outside of `shard_over`.
        signature: of the pass.
        operands: of the whole batch, in the signature's order.
        settings: of the pass.
    """
    sharding = _sharding.value
    if sharding is None:
        return function
    context = jax.sharding.get_abstract_mesh()

    shape = sharding.mesh.shape
    free = {x for x in sharding.mesh.axis_names if x not in context.manual_axes}
    if all(shape[x] == 1 for x in free):
        return function

    def dividing(names: AxisNames) -> AxisNames:
        return tuple(x for x in names if shape[x] > 1 and x in free)

    batch_names = dividing(sharding.batch)
    kind = _KINDS.get(signature.independent)
    part_names = dividing(getattr(sharding, kind)) if kind else ()
    batch = max(x.shape[0] for x in operands)
    sharding.check_divides(op, "a batch", batch, batch_names)

    def specs(arrays: Sequence[Any], places: Sequence[int | None]) -> tuple[Any, ...]:
        made = []
        for x, place in zip(arrays, places, strict=True):
            names: list[AxisNames | None] = [None] * x.ndim
            if batch_names and x.shape[0] == batch:
                names[0] = batch_names
            if part_names and place is not None and x.shape[place]:
                sharding.check_divides(op, kind, x.shape[place], part_names)
                names[place] = part_names
            made.append(jax.sharding.PartitionSpec(*names))
        return tuple(made)

    results = signature.result_shapes(signature.named(operands), settings)
    result_specs = specs(results, signature.result_places())

    def local(*parts: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(
            x if not batch_names or spec[0] else jax.lax.psum(x, batch_names)
            for x, spec in zip(function(*parts), result_specs, strict=True)
        )

    shard_map = jax.shard_map(
        local,
        mesh=sharding.mesh if context.empty else context,
        in_specs=specs(operands, signature.operand_places()),
        out_specs=result_specs,
        axis_names=free,  # all: compilers refuse kernels under axes of their own
        check_vma=False,  # with Auto axes, stacks of layers need it off
    )
    # Outside of jit too, where axes that stay with the compiler are refused.
    return jax.jit(shard_map)
