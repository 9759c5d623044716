"""Runs kernel calls under `jax.shard_map`.

XLA cannot partition a kernel: over a mesh it would gather the operands and run the
whole kernel on every device. So each kernel call is sharded here, one pass at a time
and inside the custom VJP, so that nothing is differentiated through `shard_map`.
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
# What the letter of a signature's independent axis stands for.
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
                f"the mesh axes {', '.join(names)} given to `shard_over`"
            )


# Part of jit's cache key.
_sharding = jax.make_user_context(default_value=None)


@contextlib.contextmanager
def shard_over(
    mesh: jax.sharding.Mesh,
    *,
    batch: str | Sequence[str] = (),
    heads: str | Sequence[str] = (),
    experts: str | Sequence[str] = (),
) -> Iterator[None]:
    """Shards the kernel calls traced inside over axes of a mesh.

    Each device runs its shard of the batch, of the heads (for a convolution, the
    channels of those heads) and, in the experts' products, of the experts. Operations
    without heads or experts are sharded by batch only. Gradients of operands that all
    examples share are summed over the devices. Along the other axes of the mesh all
    devices compute the same, because the compiler cannot partition a kernel. Axes that
    are already manual, inside the caller's own `jax.shard_map`, are left alone.

    Args:
        mesh: a mesh whose axes are of type Auto.
        batch: axes that shard the batch (in Switch operations, the groups).
        heads: axes that shard the heads.
        experts: axes that shard the experts; may be the same as those of the heads.

    Raises:
        ValueError: if the mesh has no such axis, or an axis is repeated; inside, if a
            batch or a number of heads or experts does not divide evenly.
    """
    names = [(x,) if isinstance(x, str) else tuple(x) for x in (batch, heads, experts)]
    for other in names[1:]:
        named = [*names[0], *other]
        if len(set(named)) < len(named) or not set(named) <= set(mesh.axis_names):
            raise ValueError(
                f"shard_over: batch={batch!r}, heads={heads!r} and experts={experts!r} "
                "must be distinct axes of the mesh (heads and experts may share some); "
                f"the mesh has {', '.join(map(repr, mesh.axis_names))}"
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
    """Returns one pass of an operation, sharded as `shard_over` specifies.

    The leading axis of an array is the batch or 1. Operands with a leading axis of 1
    are shared by all examples; such results are summed over the shards of the batch.

    Args:
        op: the name of the operation in error messages.
        function: takes operands and returns results. Returned unchanged outside of
            `shard_over`.
        signature: the signature of the pass.
        operands: arrays of the whole batch, in the signature's order.
        settings: the settings of the pass, by name.

    Raises:
        ValueError: if a batch or a number of heads or experts does not divide evenly.
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
        axis_names=free,  # All of them: compilers refuse kernels under their own axes.
        check_vma=False,  # Stacked layers need it off with Auto axes.
    )
    # Under jit, since eager shard_map refuses axes that are left to the compiler.
    return jax.jit(shard_map)
