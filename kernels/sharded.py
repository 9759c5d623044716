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

AxisNames = tuple[str, ...]
# The place of heads or experts in each operand (None: it has none) and each result.
Places = tuple[Sequence[int | None], Sequence[int]]


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


def run(
    op: str,
    function: Callable[..., tuple[jax.Array, ...]],
    operands: Sequence[jax.Array],
    results: Sequence[jax.ShapeDtypeStruct],
    places: Mapping[str, Places | None],
) -> tuple[jax.Array, ...]:
    """Runs one pass of an operation, divided as `shard_over` says.

    Arrays have the batch as their leading axis, or 1: then they are shared by all
    examples, and as results they are summed over the parts of the batch.

    Args:
        op: the operation that errors name.
        function: operands to results; run directly outside of `shard_over`.
        operands: of the whole batch.
        results: their shapes.
        places: of "heads" or "experts", for an operation that has them.
    """
    sharding = _sharding.value
    if sharding is None:
        return function(*operands)
    context = jax.sharding.get_abstract_mesh()

    shape = sharding.mesh.shape
    free = {x for x in sharding.mesh.axis_names if x not in context.manual_axes}
    if all(shape[x] == 1 for x in free):
        return function(*operands)

    def divided(names: AxisNames) -> AxisNames:
        return tuple(x for x in names if shape[x] > 1 and x in free)

    batch_names = divided(sharding.batch)
    kind = next((kind for kind, found in places.items() if found), None)
    part_names = divided(getattr(sharding, kind)) if kind else ()
    batch = max(x.shape[0] for x in operands)
    sharding.check_divides(op, "a batch", batch, batch_names)

    def specs(arrays: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, ...]:
        made = []
        for x, axis in zip(arrays, axes, strict=True):
            names: list[AxisNames | None] = [None] * x.ndim
            if batch_names and x.shape[0] == batch:
                names[0] = batch_names
            if part_names and axis is not None and x.shape[axis]:
                sharding.check_divides(op, kind, x.shape[axis], part_names)
                names[axis] = part_names
            made.append(jax.sharding.PartitionSpec(*names))
        return tuple(made)

    nowhere = [None] * len(operands), [None] * len(results)
    operand_axes, result_axes = places[kind] if kind else nowhere
    result_specs = specs(results, result_axes)

    def local(*parts: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(
            x if not batch_names or spec[0] else jax.lax.psum(x, batch_names)
            for x, spec in zip(function(*parts), result_specs, strict=True)
        )

    shard_map = jax.shard_map(
        local,
        mesh=sharding.mesh if context.empty else context,
        in_specs=specs(operands, operand_axes),
        out_specs=result_specs,
        axis_names=free,  # all: compilers refuse kernels under axes of their own
        check_vma=False,  # with Auto axes, stacks of layers need it off
    )
    # Outside of jit too, where axes that stay with the compiler are refused.
    return jax.jit(shard_map)(*operands)
